// The endpoint as the page sees it: which methods there are, and one answer as a stream of events.

export class ApiError extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

function headers(key) {
  return { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
}

async function checked(response) {
  if (response.ok) return response;
  let message = `The server replied ${response.status}.`;
  try {
    message = (await response.json()).error.message ?? message;
  } catch {
    // not an error object: a proxy's page, or nothing
  }
  throw new ApiError(message, response.status, Number(response.headers.get("retry-after")) || null);
}

// The methods in the server's order: by name {retrieves, adapters, several_rounds}, what each has a use for.
export async function listMethods(key) {
  const response = await checked(await fetch("v1/models", { headers: headers(key) }));
  return new Map((await response.json()).data.map((model) => [model.id, model.prag]));
}

// Calls onText for each piece; resolves to {prag, usage, finish}. Throws ApiError, TypeError (unreachable), AbortError.
export async function answer({ question, method, options, key, signal, onText }) {
  const body = {
    model: method,
    messages: [{ role: "user", content: question }],
    stream: true,
    stream_options: { include_usage: true },
    prag: { method, ...options },
  };
  const request = { method: "POST", headers: headers(key), body: JSON.stringify(body), signal };
  const response = await checked(await fetch("v1/chat/completions", request));
  const result = { prag: null, usage: null, finish: null };
  let ended = false;
  for await (const data of events(response.body)) {
    if (data === "[DONE]") {
      ended = true;
      break;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, response.status, null);
    const choice = chunk.choices?.[0];
    const text = choice?.delta?.content;
    if (text) onText(text);
    result.finish = choice?.finish_reason ?? result.finish;
    result.usage = chunk.usage ?? result.usage;
    result.prag = chunk.prag ?? result.prag;
  }
  if (!ended) throw new ApiError("The answer is incomplete: the connection to the server was lost.", 0, null);
  return result;
}

// The data of each server-sent event in a stream of bytes.
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n\r?\n/);
      rest = parts.pop();
      for (const part of parts) {
        const lines = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
