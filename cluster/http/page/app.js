// The page: one question, each chosen method's answer beside the others', and the documents they rest on.
// Everything that comes from the server goes into the page as text, never as HTML.

import { ApiError, answer, listMethods } from "./api.js";
import { chosenMethods, how, optionsFor, showMethods } from "./methods.js";
import { Documents, milliseconds, showFacts, showTimings } from "./results.js";
import { showRounds } from "./rounds.js";

const KEY = "prag.key";
const KEY_NOTE = "Kept in this tab until it is closed.";
const $ = (id) => document.getElementById(id);
let known = new Map(); // the methods by name, with what each has a use for
let running = null; // the AbortController of the question being answered

// -- the methods and the key ----------------------------------------------------------------------------------------

async function offerMethods() {
  const key = $("key").value;
  try {
    const methods = await listMethods(key);
    if (key !== $("key").value) return; // another key was typed meanwhile
    say($("server"), "");
    acceptKey();
    known = methods;
    showMethods([...known.keys()], $("methods"), $("legend"));
    $("methods").parentElement.hidden = false;
  } catch (error) {
    if (error.status === 401) askForKey(key ? "This API key is not valid." : "This server asks for an API key.");
    else say($("server"), error instanceof ApiError ? sentence(error.message) : "The server cannot be reached.", true);
  }
}

function askForKey(message) {
  $("options").open = true;
  say($("key-note"), message, true);
  $("key").setAttribute("aria-invalid", "true");
  $("key").focus();
}

function acceptKey() {
  say($("key-note"), KEY_NOTE);
  $("key").removeAttribute("aria-invalid");
}

function keepKey() {
  if ($("key").value) sessionStorage.setItem(KEY, $("key").value);
  else sessionStorage.removeItem(KEY);
  offerMethods();
}

// -- asking ---------------------------------------------------------------------------------------------------------

async function ask() {
  const question = $("question").value.trim();
  const methods = chosenMethods($("methods"));
  if (!question) return $("question").focus();
  if (!methods.length) return problem("Choose at least one method.");
  let options;
  try {
    options = readOptions();
  } catch (error) {
    $("options").open = true;
    $("filter").focus();
    return problem(error.message);
  }
  problem("");
  running = new AbortController();
  $("send").textContent = "Stop";
  $("welcome").hidden = true;
  $("results").hidden = false;
  $("asked").textContent = question;
  const documents = new Documents($("sources"), $("documents"), $("document-template"));
  const cards = methods.map((method) => new Card(method, question, options, documents));
  $("answers").replaceChildren(...cards.map((card) => card.element));
  $("answers").style.setProperty("--columns", String(cards.length));
  say($("status"), `Asking ${methods.join(", ")}.`);
  const { signal } = running;
  await Promise.all(cards.map((card) => card.run(signal)));
  if (signal === running?.signal) finish(cards);
}

function finish(cards) {
  running = null;
  $("send").textContent = "Ask";
  scaleTimings(cards);
  const done = cards.filter((card) => card.total !== null).length;
  say($("status"), `${done} of ${cards.length} answers are ready.`);
}

function stop() {
  running?.abort();
  running = null;
  $("send").textContent = "Ask";
}

// What the form says beyond the question; empty fields are left to the server. Throws on a filter that has no value.
function readOptions() {
  const options = { trace: true };
  if ($("top-k").value) options.top_k = Number($("top-k").value);
  if ($("merge").value) options.merge = $("merge").value;
  const filter = readFilter($("filter").value);
  if (filter) options.filter = filter;
  return options;
}

// "kind=person, year=1999" → {kind: ["person"], year: ["1999", 1999]}: what is typed has no type, so both are meant.
function readFilter(text) {
  const parts = text.split(",").map((part) => part.trim()).filter(Boolean);
  const filter = {};
  for (const part of parts) {
    const at = part.indexOf("=");
    if (at < 1) throw new Error(`Filter: “${part}” should be field=value.`);
    const field = part.slice(0, at).trim();
    const value = part.slice(at + 1).trim();
    const values = (filter[field] ??= []);
    values.push(value);
    if (value !== "" && Number.isFinite(Number(value))) values.push(Number(value));
    if (value === "true" || value === "false") values.push(value === "true");
  }
  return parts.length ? filter : null;
}

class Card {
  constructor(method, question, options, documents) {
    this.element = $("answer-template").content.firstElementChild.cloneNode(true);
    Object.assign(this, { method, question, options, documents, total: null, timings: null });
    this.element.dataset.method = method;
    this.part(".method").textContent = method;
    this.part(".how").textContent = how(method);
    this.part(".again").addEventListener("click", () => this.run(new AbortController().signal));
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  async run(signal) {
    this.element.setAttribute("aria-busy", "true");
    this.part(".failed").hidden = true;
    this.part(".text").hidden = false;
    this.part(".text").textContent = "";
    this.part(".rounds").hidden = true;
    const onText = (text) => this.part(".text").append(this.part(".text").textContent ? text : text.trimStart());
    const asked = { question: this.question, method: this.method, options: optionsFor(known.get(this.method), this.options) };
    try {
      this.show(await answer({ ...asked, key: $("key").value, signal, onText }));
    } catch (error) {
      this.fail(error);
    } finally {
      this.element.removeAttribute("aria-busy");
    }
  }

  show({ prag, usage, finish: ended }) {
    if (!this.part(".text").textContent.trim()) this.part(".text").textContent = "(no answer)";
    this.part(".cut").hidden = ended !== "length";
    showFacts(this.part(".facts"), prag, usage);
    if (!prag) return;
    this.timings = prag.timings_ms;
    this.total = prag.timings_ms.total;
    this.part(".total").textContent = milliseconds(this.total);
    showTimings(this.part(".timing"), this.timings, this.total);
    if (known.get(this.method).several_rounds) showRounds(this.part(".rounds"), prag.rounds);
    this.documents.add(this.method, prag);
    const count = prag.degraded.length;
    this.part(".degraded").hidden = !count;
    this.part(".degraded").textContent = `${count} ${count === 1 ? "document has" : "documents have"} no usable adapter and went into the prompt as text.`;
    say($("server"), `snapshot ${prag.snapshot.split("-")[0]}`);
    $("server").title = prag.snapshot;
  }

  fail(error) {
    if (error.status === 401) askForKey("This server asks for a valid API key.");
    const wait = error.retryAfter ? ` The server asks to wait ${error.retryAfter} s.` : "";
    const reason = error instanceof ApiError ? sentence(error.message) + wait : "The server cannot be reached.";
    this.part(".text").hidden = !this.part(".text").textContent;
    this.part(".failed").hidden = false;
    this.part(".failed p").textContent = error.name === "AbortError" ? "Stopped." : reason;
  }
}

// Bars of one question share a scale, so that their lengths can be compared.
function scaleTimings(cards) {
  const slowest = Math.max(...cards.map((card) => card.total ?? 0));
  for (const card of cards) if (card.timings) showTimings(card.part(".timing"), card.timings, slowest);
}

// -- the page -------------------------------------------------------------------------------------------------------

function say(element, text, bad = false) {
  element.textContent = text;
  element.classList.toggle("bad", bad);
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function fitQuestion() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) stop();
  else ask();
});
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    stop();
    ask();
  }
});
$("question").addEventListener("input", fitQuestion);
$("key").addEventListener("change", keepKey);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (event.key === "/" && !event.target.matches("input, textarea, select")) {
    event.preventDefault();
    $("question").focus();
  }
});

$("key").value = sessionStorage.getItem(KEY) ?? "";
await offerMethods();
if (document.activeElement === document.body) $("question").focus();
