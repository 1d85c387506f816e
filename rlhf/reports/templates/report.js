"use strict";
for (const box of document.querySelectorAll("[data-filter]")) {
  const list = document.getElementById(box.dataset.filter);
  const status = box.parentElement.querySelector("output");
  box.closest(".filter").hidden = false;
  box.addEventListener("input", () => {
    const wanted = box.value.trim().toLowerCase();
    let shown = 0;
    for (const item of list.children) {
      item.hidden = wanted !== "" && !item.textContent.toLowerCase().includes(wanted);
      shown += item.hidden ? 0 : 1;
    }
    status.textContent = wanted === "" ? "" : shown + " of " + list.children.length;
  });
}
addEventListener("beforeprint", () => document.querySelectorAll("details[data-print]").forEach((d) => { d.open = true; }));
