// The queue by keyboard: j k move, a approve, e edit, r reject, ? help. Without it everything is a link or a form.
const ARMED_MS = 3000;
const LONE_MS = 600;
let armed = null;
let lastWritten = -Infinity;

function items() {
  return [...document.querySelectorAll("[data-item]")];
}

function move(step) {
  const all = items();
  const current = all.findIndex((each) => each.getAttribute("aria-current"));
  const next = all[Math.min(all.length - 1, Math.max(0, current + step))];
  if (next && next !== all[current]) next.click();
}

/** The form or the disclosure for a key, in the one request that is shown. */
function act(key) {
  return document.querySelector(`[data-detail] [data-actions] [data-act="${key}"]`);
}

function approve() {
  const form = act("a");
  if (!form) return;
  const isCritical = form.closest("[data-request]").dataset.risk === "critical";
  if (isCritical && armed !== form) {
    arm(form);
    return;
  }
  form.querySelector("button").click();
}

/** A critical risk is not approved by one slip of a finger. */
function arm(form) {
  armed = form;
  const button = form.querySelector("button");
  const label = button.innerHTML;
  button.textContent = "Press a again to approve";
  setTimeout(() => {
    armed = null;
    button.innerHTML = label;
  }, ARMED_MS);
}

function disclose(key) {
  const details = act(key);
  if (!details) return;
  details.open = !details.open;
  // At once, not when the toggle is told of: the next key is the first letter of a reason.
  if (details.open) details.querySelector("textarea, input:not([type=hidden])")?.focus();
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  a: approve,
  e: () => disclose("e"),
  r: () => disclose("r"),
  "?": () => document.getElementById("keys")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.closest?.(".disclose")) {
    event.target.closest(".disclose").open = false;
    document.activeElement.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest?.("input, textarea, select, dialog")) return;
  // An "a" among other letters is a word meant for a field that had no focus yet, and never an approval.
  if (event.key.length === 1 && !"jka?".includes(event.key)) lastWritten = event.timeStamp;
  if (event.key === "a" && event.timeStamp - lastWritten < LONE_MS) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-help]")) document.getElementById("keys")?.showModal();
});

document.querySelector("[data-item][aria-current]")?.scrollIntoView({ block: "nearest" });
