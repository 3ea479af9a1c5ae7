// What the page is made of beside its behaviour: elements, requests with the key, and thumbnails.

export const $ = (id) => document.getElementById(id);

// el makes an element. Properties are set, never parsed: names of files come from strangers.
export function el(tag, properties = {}, ...children) {
  const { aria = {}, ...rest } = properties;
  const e = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(aria)) e.setAttribute("aria-" + name, value);
  e.append(...children);
  return e;
}

const keyName = "bgevl-api-key";
export const key = {
  get: () => sessionStorage.getItem(keyName) ?? "",
  set: (value) => (value ? sessionStorage.setItem(keyName, value) : sessionStorage.removeItem(keyName)),
};

// Failed is an answer that says why there is none.
export class Failed extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// call sends a request and returns its JSON.
export async function call(path, options = {}) {
  const response = await send(path, options);
  return response.json();
}

async function send(path, options = {}) {
  const headers = new Headers(options.headers);
  if (key.get()) headers.set("Authorization", "Bearer " + key.get());
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit", redirect: "error" });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Failed(0, "The server does not answer. Is bgevl serve still running?");
  }
  if (response.ok) return response;
  let message = "The server answered with status " + response.status + ".";
  try {
    const { error } = await response.json();
    if (error?.message) message = sentence(error.message, error.param);
  } catch { /* no JSON: the status says it */ }
  const wait = response.headers.get("Retry-After");
  if (response.status === 429 && wait) message += " Try again in " + wait + " s.";
  throw new Failed(response.status, message);
}

function sentence(message, param) {
  const text = message[0].toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? "" : ".");
  return param && !message.startsWith(param) ? text + " (" + param + ")" : text;
}

// Thumbnails show pictures of the collection. Where a key is needed an <img> could not send it, so that they are fetched.
export class Thumbnails {
  #urls = new Set();

  // show puts a picture into an image.
  async show(image, path) {
    if (!key.get()) {
      image.src = path;
      return;
    }
    try {
      const url = URL.createObjectURL(await (await send(path)).blob());
      this.#urls.add(url);
      image.src = url;
    } catch { image.alt += " (cannot be shown)"; }
  }

  // clear gives back what was fetched and is no longer shown.
  clear() {
    for (const url of this.#urls) URL.revokeObjectURL(url);
    this.#urls.clear();
  }
}

export const number = (n) => n.toLocaleString("en");
export const plural = (n, one, many = one + "s") => number(n) + " " + (n === 1 ? one : many);
