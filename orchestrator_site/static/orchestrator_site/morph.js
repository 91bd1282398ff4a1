// Makes a piece of the page look like what the server sent, and leaves a person's hands alone:
// open <details>, the focused element, what is half typed, and whatever is marked `data-keep`.

export function morph(from, to) {
  if (!isSame(from, to)) {
    from.replaceWith(document.importNode(to, true));
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (from.hasAttribute("data-keep") && to.hasAttribute("data-keep")) return;
  if (isInUse(from)) return;
  matchAttributes(from, to);
  matchChildren(from, to);
}

function isSame(from, to) {
  return from.nodeType === to.nodeType && from.nodeName === to.nodeName && (from.id || "") === (to.id || "");
}

/** A field a person is in, or has changed. */
function isInUse(element) {
  if (!element.matches("input, textarea, select")) return false;
  if (element === document.activeElement) return true;
  if (element.matches("[type=checkbox], [type=radio]")) return element.checked !== element.defaultChecked;
  if (element.matches("select")) return [...element.options].some((each) => each.selected !== each.defaultSelected && element.dataset.touched);
  return element.type !== "hidden" && element.value !== element.defaultValue;
}

function matchAttributes(from, to) {
  for (const { name, value } of [...to.attributes]) {
    if (keeps(from, name)) continue;
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !keeps(from, name)) from.removeAttribute(name);
  }
}

function keeps(element, name) {
  if (name === "open") return element.matches("details, dialog");
  return name === "class" && element.hasAttribute("data-keep-class");
}

function matchChildren(from, to) {
  const named = new Map([...from.children].filter((each) => each.id).map((each) => [each.id, each]));
  let place = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const present = find(wanted, place, named);
    if (!present) {
      from.insertBefore(document.importNode(wanted, true), place);
    } else {
      if (present === place) place = place.nextSibling;
      else from.insertBefore(present, place);
      morph(present, wanted);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

/** The child that `wanted` continues: the one of its id, or the next one without an id of the same kind. */
function find(wanted, place, named) {
  if (wanted.id) return named.get(wanted.id) || null;
  if (place && !place.id && isSame(place, wanted)) return place;
  return null;
}
