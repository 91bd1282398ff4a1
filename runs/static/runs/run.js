// Appends what the model says to the step it is said in. Nobody relies on it: the reply is stored whole when it ends.
const waiting = new Map();

function placeOf(key) {
  return document.querySelector(`[data-live-text="${CSS.escape(key)}"]`);
}

document.addEventListener("live:text", ({ detail }) => {
  const key = `${detail.dispatch}:${detail.step}`;
  const place = placeOf(key);
  if (place) place.append(detail.text);
  else waiting.set(key, (waiting.get(key) || "") + detail.text);
});

document.addEventListener("live:parts", () => {
  for (const [key, text] of waiting) {
    const place = placeOf(key);
    if (place) {
      place.append(text);
      waiting.delete(key);
    }
  }
});

// A box of the drawing leads to its node, which opens, and with it whatever it lies within.
function openTarget() {
  const place = location.hash.startsWith("#node-") && document.getElementById(location.hash.slice(1));
  if (!place) return;
  place.querySelector(":scope > details").open = true;
  for (let around = place.parentElement.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
  place.scrollIntoView({ block: "start" });
}

addEventListener("hashchange", openTarget);
openTarget();
