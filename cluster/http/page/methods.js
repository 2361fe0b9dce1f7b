// The methods: what each is in a few words, and which of the form's options it has a use for, as the server says.

const HOW = {
  closed_book: "The model alone",
  rag: "Documents in the prompt",
  prag: "Documents as adapters, merged into the model",
  combine: "Documents in the prompt and as adapters",
  da_rag: "Documents in the prompt, with their rewrites and questions",
  ircot: "Reasons step by step and looks up each sentence",
  flare: "Looks up the sentences it is not sure of",
  flare_lookahead: "Drafts a sentence ahead and looks up what it is not sure of",
  adaptive_rag: "Chooses how to answer for each question",
  adaptive_prag: "Chooses between text and adapters for each question",
};
const FIRST_CHOICE = ["rag", "prag"];

export function how(name) {
  const base = name.replace(/\+prag$/, "");
  const text = HOW[base] ?? "";
  return text && base !== name ? `${text}; merges the adapters of all it retrieves` : text;
}

// What a method has no use for the server refuses; the form is for all of them at once.
export function optionsFor({ retrieves, adapters }, { top_k, filter, merge, trace }) {
  return {
    trace,
    ...(retrieves && top_k && { top_k }),
    ...(retrieves && filter && { filter }),
    ...(adapters && merge && { merge }),
  };
}

// Chips to choose from, and the legend. What was chosen before stays chosen.
export function showMethods(names, chips, legend) {
  const before = new Set(chosenMethods(chips));
  chips.replaceChildren(...names.map((name) => chip(name, before.size ? before.has(name) : FIRST_CHOICE.includes(name))));
  if (!chosenMethods(chips).length && names.length) chips.querySelector("input").checked = true;
  legend.replaceChildren(...names.flatMap(legendEntry));
}

export function chosenMethods(chips) {
  return [...chips.querySelectorAll("input:checked")].map((box) => box.value);
}

function chip(name, checked) {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "method", value: name, checked });
  label.className = "chip";
  label.dataset.method = name;
  label.title = how(name);
  label.append(box, document.createTextNode(name));
  return label;
}

function legendEntry(name) {
  const term = Object.assign(document.createElement("dt"), { textContent: name });
  term.dataset.method = name;
  return [term, Object.assign(document.createElement("dd"), { textContent: how(name) })];
}
