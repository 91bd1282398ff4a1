// Keeps a page in step with the rows. The socket only hints that something happened: the page then fetches its parts,
// rendered by the server, and morphs them into place. While the socket is away it asks every few seconds instead.
import { morph } from "./morph.js";

const page = document.querySelector("[data-live]");
const HINT_MS = 150;
const LONGEST_BACKOFF_MS = 30_000;
const REFUSALS = new Set([4400, 4401, 4404]); // asking again would bring the same answer

let timer = null;
let isFetching = false;
let isStale = false;
let socket = null;
let failures = 0;

// -- parts -------------------------------------------------------------------------------------------------------
export async function refresh(url = location.href) {
  if (isFetching) {
    isStale = true;
    return;
  }
  isFetching = true;
  try {
    await fetchParts(url);
  } catch {
    say("offline", "no connection");
  } finally {
    isFetching = false;
  }
  if (isStale) {
    isStale = false;
    hint();
  }
}

async function fetchParts(url) {
  const address = new URL(url, location.href);
  address.hash = "";
  address.searchParams.set("part", "1");
  const selected = document.querySelector("[data-selected]")?.dataset.selected;
  if (selected) address.searchParams.set("keep", selected);
  const response = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (response.redirected) return location.reload();
  if (!response.ok) return;
  const sent = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of sent.querySelectorAll("[data-part]")) {
    const present = document.querySelector(`[data-part="${part.dataset.part}"]`);
    if (present) morph(present, part);
  }
  tellTimes();
  document.dispatchEvent(new CustomEvent("live:parts"));
}

/** Something happened: fetch soon, and once for a burst. */
function hint() {
  clearTimeout(timer);
  timer = setTimeout(() => refresh(), HINT_MS);
}

// -- socket ------------------------------------------------------------------------------------------------------
function connect() {
  const address = new URL(page.dataset.socket, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  if (page.dataset.seq) address.searchParams.set("after", page.dataset.seq);
  socket = new WebSocket(address);
  socket.addEventListener("open", () => {
    failures = 0;
    say("live", "live");
    hint(); // whatever happened while nobody listened
  });
  socket.addEventListener("message", (event) => hear(JSON.parse(event.data)));
  socket.addEventListener("close", ({ code }) => {
    socket = null;
    if (REFUSALS.has(code)) return;
    say("polling", "asking every few seconds");
    failures += 1;
    setTimeout(connect, Math.min(1000 * 2 ** failures, LONGEST_BACKOFF_MS));
  });
}

function hear(message) {
  if (message.type === "text") {
    document.dispatchEvent(new CustomEvent("live:text", { detail: message.data }));
    return;
  }
  if (message.type === "live") {
    if (message.data?.degraded) say("degraded", "live updates degraded", "What happens shows here a few seconds late. The work goes on.");
    else say("live", "live");
    return;
  }
  if (message.seq) page.dataset.seq = Math.max(message.seq, Number(page.dataset.seq || 0));
  hint();
}

function say(state, words, meaning = "") {
  const place = document.querySelector("[data-live-state]");
  if (!place) return;
  place.dataset.state = state;
  place.textContent = words;
  place.title = meaning;
}

function poll() {
  const isConnected = socket?.readyState === WebSocket.OPEN;
  if (!document.hidden && (!isConnected || "pollAlways" in page.dataset)) refresh();
}

// -- moments -----------------------------------------------------------------------------------------------------
const UNITS = [[86400, "day", "days"], [3600, "h", "h"], [60, "min", "min"], [1, "s", "s"]];

function distance(seconds) {
  const span = Math.max(0, Math.floor(seconds));
  const [size, one, many] = UNITS.find(([unit]) => span >= unit) || UNITS.at(-1);
  const number = Math.floor(span / size);
  return `${number} ${number === 1 ? one : many}`;
}

function tellTimes() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const past = (now - Date.parse(time.dateTime)) / 1000;
    put(time, past < 2 ? "just now" : `${distance(past)} ago`);
  }
  for (const time of document.querySelectorAll("time[data-until]")) {
    const left = (Date.parse(time.dateTime) - now) / 1000;
    put(time, left > 0 ? `${distance(left)} left` : "deadline passed");
    time.classList.toggle("soon", left < 3600);
  }
  for (const time of document.querySelectorAll("time[data-coming]")) {
    const left = (Date.parse(time.dateTime) - now) / 1000;
    put(time, left > 0 ? `in ${distance(left)}` : "now");
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// -- the frame ---------------------------------------------------------------------------------------------------
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-menu]");
  if (button) {
    const isOpen = document.getElementById("menu").classList.toggle("is-open");
    button.setAttribute("aria-expanded", String(isOpen));
  }
  for (const open of document.querySelectorAll(".disclose-menu[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("select")) event.target.dataset.touched = "yes";
  if (event.target.closest("[data-auto-submit]")) event.target.form.requestSubmit();
  if (event.target.dataset.submitBy) event.target.form.requestSubmit(document.getElementById(event.target.dataset.submitBy));
});

// A second click must not post a second time.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "post") return;
  const form = event.target;
  if (form.dataset.posted) event.preventDefault();
  form.dataset.posted = "yes";
  setTimeout(() => delete form.dataset.posted, 4000);
});

// A form that opens is there to be typed in.
document.addEventListener("toggle", (event) => {
  if (event.target.open && event.target.matches?.(".disclose")) {
    event.target.querySelector("textarea, input:not([type=hidden])")?.focus({ preventScroll: true });
    event.target.querySelector(".sheet")?.scrollIntoView({ block: "nearest" });
  }
}, true);

if (page) {
  tellTimes();
  setInterval(tellTimes, 1000);
}

// A page that tells of a fault stands still: it holds what was typed, and nothing fresh must take its place.
if (page && !("still" in page.dataset)) {
  if (page.dataset.socket) connect();
  if (page.dataset.poll) setInterval(poll, Number(page.dataset.poll) * 1000);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}
