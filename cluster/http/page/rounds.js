// The retrievals of an answer, in order: what was asked, and what was found.

// `details` opens and closes by itself, with the keyboard too; it is there for methods that retrieve as they go.
export function showRounds(details, rounds) {
  details.hidden = !rounds?.length;
  if (details.hidden) return;
  details.querySelector("summary").textContent = rounds.length === 1 ? "1 retrieval" : `${rounds.length} retrievals`;
  details.querySelector("ol").replaceChildren(...rounds.map(round));
}

function round({ query, documents }) {
  const item = document.createElement("li");
  const asked = Object.assign(document.createElement("q"), { textContent: query.trim() });
  const found = document.createElement("ul");
  found.append(...documents.map(hit));
  item.append(asked, documents.length ? found : Object.assign(document.createElement("p"), { textContent: "Nothing was found." }));
  return item;
}

function hit({ doc_id: id, chunk, title, score }) {
  const item = document.createElement("li");
  const name = title || (chunk ? `${id}, chunk ${chunk}` : id);
  item.append(name, Object.assign(document.createElement("span"), { textContent: score.toFixed(2) }));
  return item;
}
