"use strict";
// What the console's pages do in the browser beyond htmx: tell the zone, and leave no change unsaved without a word.
(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  if (!document.cookie.split("; ").includes("notifier_zone=" + zone)) {
    document.cookie = "notifier_zone=" + zone + "; path=/; max-age=31536000; samesite=strict";
  }
  document.getElementById("faults")?.focus();

  const editing = document.querySelector("form.editing");
  if (editing !== null) {
    let changed = false;
    editing.addEventListener("input", () => { changed = true; });
    editing.addEventListener("submit", () => { changed = false; });
    addEventListener("beforeunload", (leaving) => { if (changed) leaving.preventDefault(); });
  }
})();
