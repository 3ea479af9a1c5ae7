import { $, Failed, Thumbnails, call, el, key, number, plural } from "/page/parts.js";

const shown = new Thumbnails(); // of results
const kept = new Thumbnails(); // of examples and of the query
let picture = null; // of the query: {file} or {id, name}
let results = []; // of the last search
let running = null; // the search that is waited for
let untouched = true; // nobody has asked for anything: the first example is shown once all is in

// ---- What there is ----

async function refresh() {
  let status;
  try {
    status = await call("/v1/index");
  } catch (e) {
    if (e.status === 401) return askKey(key.get() ? "This key is not the right one." : "");
    fail(e);
    return setTimeout(refresh, 5000);
  }
  $("key-open").hidden = !key.get();
  describe(status);
  offer(status.examples);
  if (status.indexing.state === "running") setTimeout(refresh, 500);
  else if (untouched) begin(status.examples[0]);
}

function describe(s) {
  const parts = [];
  if (s.images || !s.texts) parts.push(plural(s.images, "picture"));
  if (s.texts) parts.push(plural(s.texts, "text"));
  $("facts").replaceChildren(el("b", { textContent: s.model.name }), ` ${s.model.type}, ${s.model.dim} dimensions · ${parts.join(" and ")}`);
  $("demo").hidden = !s.demo;
  $("empty").hidden = s.items > 0 || s.indexing.state === "running";
  $("file").disabled = !s.model.images;
  $("instruction-field").hidden = !s.model.instructions;
  const sources = $("source"), chosen = sources.value;
  sources.replaceChildren(el("option", { value: "", textContent: "everywhere" }), ...s.sources.map((n) => el("option", { value: n, textContent: n })));
  sources.value = s.sources.includes(chosen) ? chosen : "";
  $("source-field").hidden = s.sources.length < 2;
  const bar = $("bar");
  $("progress").hidden = s.indexing.state === "done";
  if (s.indexing.total) Object.assign(bar, { max: s.indexing.total, value: s.indexing.done });
  $("progress-text").textContent = s.indexing.state === "failed" ? "Indexing stopped: the server's log says why."
    : s.indexing.total ? `Indexing: ${number(s.indexing.done)} of ${number(s.indexing.total)}. What is in can be searched.` : "Looking for pictures…";
  bar.hidden = s.indexing.state === "failed";
  $("failures").hidden = !s.failed;
  if (s.failed) {
    $("failures").querySelector("summary").textContent = `${plural(s.failed, "file")} could not be taken in`;
    $("failures").querySelector("ul").replaceChildren(...s.failures.map((f) => el("li", { textContent: `${f.source}/${f.name}: ${f.error}` })));
  }
}

let offered = "";
function offer(examples) {
  const now = JSON.stringify(examples);
  if (now === offered) return;
  offered = now;
  $("examples").replaceChildren(...examples.map((x) => {
    const chip = el("button", { type: "button", onclick: () => pose(x) });
    if (x.thumbnail) {
      const image = el("img", { alt: "a picture, " });
      kept.show(image, x.thumbnail);
      chip.append(image);
    }
    chip.append((x.id ? "+ " : "") + x.text + (x.negative ? `, but not ${x.negative}` : ""));
    return chip;
  }));
}

// ---- The query ----

function setPicture(p) {
  if (picture?.url) URL.revokeObjectURL(picture.url);
  picture = p;
  $("picture").hidden = !p;
  $("pick").hidden = !!p;
  $("file").hidden = !!p;
  const image = $("picture-image");
  image.removeAttribute("src");
  $("text-label").textContent = p ? "What should be different?" : "What are you looking for?";
  $("text").placeholder = p ? "nothing: find what is similar, or: make it red, at night…" : "describe it";
  if (!p) {
    $("file").value = "";
    return;
  }
  image.alt = "The query's picture" + (p.name ? ": " + p.name : "");
  if (p.file) {
    p.url = URL.createObjectURL(p.file);
    image.src = p.url;
  } else kept.show(image, `/v1/index/${p.id}/thumbnail`);
}

function takeFile(file) {
  if (!file) return;
  if (!file.type.startsWith("image/")) return fail(new Error(`${file.name || "This"} is no picture.`));
  clearError();
  setPicture({ file, name: file.name });
  $("text").focus();
}

// pose fills the form in and searches.
function pose({ text = "", id = "", name = "", negative = "" }, options) {
  $("text").value = text;
  $("negative").value = negative;
  if (negative) $("more").open = true;
  setPicture(id ? { id, name } : null);
  search(options);
}

// refine takes a result as the picture of a query, of which the text is yet to come.
function refine(item) {
  setPicture({ id: item.id, name: item.name });
  $("text").value = "";
  $("text").focus();
  $("form").scrollIntoView({ block: "start", behavior: "auto" });
}

function query() {
  const q = { text: $("text").value.trim(), negative: $("negative").value.trim(), instruction: $("instruction").value.trim() };
  if (picture?.id) q.id = picture.id;
  for (const name of Object.keys(q)) if (!q[name]) delete q[name];
  return q;
}

function body(q) {
  const k = Number($("k").value), filter = {};
  if ($("name").value.trim()) filter.name = $("name").value.trim();
  if ($("source").value) filter.source = $("source").value;
  if (!picture?.file) {
    return { body: JSON.stringify({ query: q, k, filter }), headers: { "Content-Type": "application/json" } };
  }
  const form = new FormData();
  for (const [name, value] of Object.entries(q)) form.set(name, value);
  form.set("image", picture.file);
  form.set("k", k);
  form.set("filter", JSON.stringify(filter));
  return { body: form };
}

async function search({ remember = true } = {}) {
  const q = query();
  if (!q.text && !q.id && !picture?.file) return fail(new Error("Type a text, or add a picture."));
  untouched = false;
  running?.abort();
  const mine = (running = new AbortController());
  clearError();
  $("results-section").setAttribute("aria-busy", "true");
  try {
    const found = await call("/v1/search", { method: "POST", signal: mine.signal, ...body(q) });
    if (remember) keep(q);
    results = found.results;
    show(q, found);
  } catch (e) {
    if (e.name === "AbortError") return;
    if (e.status === 401) return askKey(key.get() ? "This key is not the right one." : "");
    fail(e);
  } finally {
    if (running === mine) {
      running = null;
      $("results-section").setAttribute("aria-busy", "false");
    }
  }
}

// keep writes the query into the page's address, so that going back does. A picture that was sent is not in it.
function keep(q) {
  const { text = "", id = "", negative = "" } = q;
  const hash = picture?.file ? "" : "#" + new URLSearchParams({ text, id, negative });
  if (hash !== location.hash) history.pushState(null, "", hash || location.pathname);
}

function restore() {
  const p = new URLSearchParams(location.hash.slice(1));
  if (!p.get("text") && !p.get("id")) return false;
  $("text").value = p.get("text") ?? "";
  $("negative").value = p.get("negative") ?? "";
  if ($("negative").value) $("more").open = true;
  const id = p.get("id");
  setPicture(/^[0-9a-f]{32}$/.test(id) ? { id } : null);
  search({ remember: false });
  return true;
}

// ---- The results ----

function show(q, found) {
  shown.clear();
  const parts = [`${plural(found.results.length, "result")} of ${number(found.items)} for`];
  if (picture) {
    const image = el("img", { alt: "this picture" });
    if (picture.url) image.src = picture.url; else kept.show(image, `/v1/index/${picture.id}/thumbnail`);
    parts.push(image);
  }
  if (q.text) parts.push(el("b", { textContent: `${picture ? "+ " : ""}“${q.text}”` }));
  if (q.negative) parts.push(`but not “${q.negative}”`);
  for (const w of found.warnings ?? []) parts.push(el("em", { textContent: w }));
  $("summary").replaceChildren(...parts.map((p) => (typeof p === "string" ? el("span", { textContent: p }) : p)));
  const best = Math.max(...found.results.map((r) => r.score), 0.01);
  $("results").replaceChildren(...found.results.map((r) => card(r, best)));
  cut();
}

function card(r, best) {
  const fill = el("i");
  fill.style.width = Math.max(0, Math.min(100, (100 * r.score) / best)) + "%";
  const li = el("li", { className: "card" + (r.rank === 1 ? " first" : "") });
  li.dataset.score = r.score;
  if (r.kind === "image") {
    const image = el("img", { className: "shot", alt: r.name, loading: "lazy", decoding: "async" });
    shown.show(image, r.thumbnail);
    li.append(image);
  } else li.append(el("blockquote", { textContent: r.text, tabIndex: 0 }));
  const title = r.kind === "image" ? r.name : `${r.source} ${r.name}`;
  li.append(
    el("span", { className: "rank", textContent: r.rank, aria: { label: `Rank ${r.rank}` } }),
    el("div", { className: "about" },
      el("div", { className: "score", title: `cosine ${r.score}` }, el("span", { textContent: r.score.toFixed(3), aria: { label: `Score ${r.score.toFixed(3)}` } }),
        el("span", { className: "meter", aria: { hidden: true } }, fill)),
      el("div", { className: "title", textContent: title, title })),
    el("div", { className: "acts" },
      el("button", { type: "button", textContent: "Similar", onclick: () => similar(r), aria: { label: `Find what is similar to ${title}` } }),
      ...(r.kind === "image" ? [el("button", { type: "button", textContent: "Refine", onclick: () => refine(r), aria: { label: `Refine: ${title}, but different` } })] : [])));
  return li;
}

function similar(r) {
  if (r.kind === "text") return pose({ text: r.text });
  pose({ id: r.id, name: r.name });
  $("results-title").focus();
}

// cut hides what scores too low. It is the same as asking for it, since the best are here.
function cut() {
  const least = Number($("least").value);
  $("least-value").textContent = least ? least.toFixed(2) : "any";
  let left = 0;
  for (const c of $("results").children) {
    c.hidden = least > 0 && Number(c.dataset.score) < least;
    left += c.hidden ? 0 : 1;
  }
  $("none").hidden = left > 0 || !$("summary").childNodes.length;
  $("none").textContent = results.length ? `None scores ${least.toFixed(2)} or more; the best has ${results[0].score.toFixed(3)}.` : "Nothing was found.";
}

function fail(e) {
  $("error").textContent = e instanceof Failed || e.constructor === Error ? e.message : "This page went wrong: " + e.message;
  $("error").hidden = false;
}

function clearError() { $("error").hidden = true; }

// ---- The key ----

function askKey(why = "") {
  $("key-error").textContent = why;
  $("key-open").hidden = false;
  $("key-value").value = "";
  if (!$("key").open) $("key").showModal();
}

$("key-form").addEventListener("submit", (e) => {
  e.preventDefault();
  key.set($("key-value").value.trim());
  $("key").close();
  start();
});
$("key-cancel").addEventListener("click", () => $("key").close());
$("key-open").addEventListener("click", () => askKey());

// ---- Input ----

$("form").addEventListener("submit", (e) => { e.preventDefault(); search(); });
$("file").addEventListener("change", () => takeFile($("file").files[0]));
$("picture-clear").addEventListener("click", () => { setPicture(null); $("text").focus(); });
$("least").addEventListener("input", cut);
for (const id of ["k", "source"]) $(id).addEventListener("change", () => { if (results.length) search({ remember: false }); });
window.addEventListener("popstate", restore);
window.addEventListener("paste", (e) => {
  const file = [...(e.clipboardData?.files ?? [])].find((f) => f.type.startsWith("image/"));
  if (file) { e.preventDefault(); takeFile(file); }
});
window.addEventListener("keydown", (e) => {
  if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName) && !$("key").open) {
    e.preventDefault();
    $("text").focus();
  }
});
let depth = 0; // of elements that a dragged file is over
const dragged = (e) => e.dataTransfer?.types?.includes("Files");
window.addEventListener("dragenter", (e) => { if (dragged(e)) { depth++; $("veil").hidden = false; } });
window.addEventListener("dragleave", (e) => { if (dragged(e) && --depth <= 0) { depth = 0; $("veil").hidden = true; } });
window.addEventListener("dragover", (e) => { if (dragged(e)) e.preventDefault(); });
window.addEventListener("drop", (e) => {
  if (!dragged(e)) return;
  e.preventDefault();
  depth = 0;
  $("veil").hidden = true;
  takeFile(e.dataTransfer.files[0]);
});

// begin searches for the first example.
function begin(example) {
  untouched = false;
  if (!example || $("text").value || picture) return;
  pose(example, { remember: false });
}

// start shows what there is, and what the page's address asks for.
function start() {
  setPicture(null);
  refresh();
  restore();
}

start();
