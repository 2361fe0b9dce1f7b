// What an answer rests on: where its time went, facts of its merge, and the documents, shared by all methods' answers.

const STAGES = [
  ["retrieve", "retrieve"],
  ["fetch", "fetch"],
  ["merge", "merge"],
  ["install", "install"],
  ["prompt", "prompt"],
  ["generate", "generate"],
];

// Milliseconds by stage. The server counts first_token and total from the request's start. Answers of several rounds come
// whole, and say themselves how long they were generated.
function spans(timings) {
  const before = ["retrieve", "fetch", "merge", "install", "generate"].reduce((sum, stage) => sum + (timings[stage] ?? 0), 0);
  const first = timings.first_token || timings.total;
  return { ...timings, prompt: Math.max(first - before, 0), generate: timings.generate ?? Math.max(timings.total - first, 0) };
}

export function milliseconds(value) {
  if (value >= 10000) return `${(value / 1000).toFixed(0)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return value >= 10 ? `${value.toFixed(0)} ms` : `${value.toFixed(1)} ms`;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function showTimings(figure, timings, longest) {
  const found = STAGES.map(([stage, label]) => ({ stage, label, value: spans(timings)[stage] ?? 0 })).filter(({ value }) => value > 0);
  const track = figure.querySelector(".track");
  track.replaceChildren(
    ...found.map(({ stage, value }) => {
      const bar = element("i");
      bar.dataset.stage = stage;
      bar.style.width = `${(100 * value) / longest}%`;
      return bar;
    }),
  );
  track.setAttribute("aria-label", `${milliseconds(timings.total)} in total`);
  const stages = found.map(({ stage, label, value }) => {
    const entry = element("span", "stage");
    entry.dataset.stage = stage;
    entry.append(element("span", "", label), element("b", "", milliseconds(value)));
    return entry;
  });
  figure.querySelector(".stages").replaceChildren(...stages);
  figure.hidden = false;
}

export function showFacts(list, prag, usage) {
  const facts = [];
  if (prag?.timings_ms.first_token) facts.push(["first token", milliseconds(prag.timings_ms.first_token)]);
  if (prag?.timings_ms.generate && prag.rounds && !prag.rounds.length) facts.push(["retrievals", "none"]);
  if (usage) facts.push(["tokens", `${usage.prompt_tokens} in, ${usage.completion_tokens} out`]);
  const trace = prag?.trace ?? {};
  if (trace.rule) facts.push(["merged by", `${trace.rule}, rank ${trace.rank}`]);
  if (trace.interference && prag.documents.length > 1) {
    const { mean, largest } = trace.interference;
    facts.push(["interference", `${mean.toFixed(2)} mean, ${largest.toFixed(2)} largest`]);
  }
  list.replaceChildren(
    ...facts.map(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", "", name), element("dd", "", value));
      return pair;
    }),
  );
}

// The documents behind one question's answers, each once, the best score first, with what each method made of it.
export class Documents {
  constructor(section, list, template) {
    Object.assign(this, { section, list, template, known: new Map() });
    list.replaceChildren();
    section.hidden = true;
  }

  add(method, prag) {
    const reasons = new Map(prag.degraded.map((entry) => [keyOf(entry), entry.reason]));
    for (const found of prag.documents) {
      const known = this.known.get(keyOf(found)) ?? { found, uses: new Map(), open: false };
      known.uses.set(method, { ...found, reason: reasons.get(keyOf(found)) });
      this.known.set(keyOf(found), known);
    }
    this.show();
  }

  show() {
    const entries = [...this.known.values()].sort((one, other) => other.found.score - one.found.score);
    const best = Math.max(...entries.map(({ found }) => found.score), 0);
    this.list.replaceChildren(...entries.map((entry) => this.item(entry, best)));
    this.section.hidden = !entries.length;
  }

  item(entry, best) {
    const { found, uses } = entry;
    const item = this.template.content.firstElementChild.cloneNode(true);
    item.querySelector(".title").textContent = found.title || found.doc_id;
    item.querySelector(".score").textContent = found.score ? `score ${found.score.toFixed(2)}` : "";
    item.querySelector(".gauge i").style.width = best > 0 ? `${(100 * found.score) / best}%` : "0";
    item.querySelector(".gauge").hidden = !found.score;
    item.querySelector(".id").textContent = found.chunk ? `${found.doc_id}, chunk ${found.chunk}` : found.doc_id;
    showPassage(item, entry);
    item.querySelector(".uses").replaceChildren(...[...uses].map(([method, use]) => showUse(method, use)));
    return item;
  }
}

function keyOf({ doc_id: id, chunk }) {
  return JSON.stringify([id, chunk ?? 0]);
}

function showUse(method, { used_as: usedAs, adapter, reason }) {
  const use = element("li", reason ? "use missing" : "use");
  use.dataset.method = method;
  use.append(element("b", "", method));
  use.append(element("span", "", { text: "text", adapter: "adapter", both: "text and adapter" }[usedAs] ?? usedAs));
  if (adapter) use.append(Object.assign(element("code", "", adapter.slice(0, 8)), { title: `adapter ${adapter}` }));
  if (reason) use.append(element("em", "", `instead of its adapter: ${reason}`));
  return use;
}

const SHORT = 280; // characters of a passage that are shown at once

// A long passage is cut until it is opened; it stays open when another method's answer comes in.
function showPassage(item, entry) {
  const text = entry.found.text ?? "";
  const passage = item.querySelector(".passage");
  const more = item.querySelector(".more");
  const short = text.length > SHORT * 1.2 ? `${text.slice(0, SHORT).replace(/\s+\S*$/, "")} …` : text;
  const show = () => {
    more.setAttribute("aria-expanded", String(entry.open));
    more.textContent = entry.open ? "Show less" : "Show all";
    passage.textContent = entry.open ? text : short;
  };
  passage.hidden = !text;
  more.hidden = short === text;
  more.addEventListener("click", () => {
    entry.open = !entry.open;
    show();
  });
  show();
}
