// A proposed plan is edited node by node in small fields. What is posted is its JSON, which they are written into.
function read(form) {
  try {
    return JSON.parse(form.querySelector("[data-plan-text]").value);
  } catch {
    return null;
  }
}

function nodeOf(plan, field) {
  return plan?.nodes?.find?.((each) => each.key === field.dataset.planNode);
}

function write(form, field) {
  const plan = read(form);
  const node = nodeOf(plan, field);
  if (!node) return;
  node[field.dataset.planField] = field.value;
  form.querySelector("[data-plan-text]").value = JSON.stringify(plan, null, 2);
}

/** The fields say what the JSON says; one whose node is gone, or cannot be read, is of no use. */
function tell(form) {
  const plan = read(form);
  for (const field of form.querySelectorAll("[data-plan-node]")) {
    const node = nodeOf(plan, field);
    field.disabled = !node;
    if (node) field.value = node[field.dataset.planField] ?? "";
    if (field.matches("select")) field.dataset.touched = "yes";
  }
}

document.addEventListener("input", ({ target }) => {
  const form = target.closest?.("[data-plan-form]");
  if (!form) return;
  if (target.matches("[data-plan-text]")) tell(form);
  else if (target.dataset.planNode) write(form, target);
});

// A plan that came back with a fault holds what was typed in its JSON alone.
document.querySelectorAll("[data-plan-form]").forEach(tell);
