// Runs before the first paint. Light or dark is kept where the admin keeps it, as JSON under `adminTheme`.
(() => {
  const KEY = "adminTheme";
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      return JSON.parse(localStorage.getItem(KEY)) || "auto";
    } catch {
      return "auto";
    }
  }

  function apply() {
    const theme = chosen();
    const isDark = theme === "dark" || (theme === "auto" && prefersDark.matches);
    document.documentElement.classList.toggle("dark", isDark);
  }

  function change() {
    const isDark = document.documentElement.classList.contains("dark");
    try {
      localStorage.setItem(KEY, JSON.stringify(isDark ? "light" : "dark"));
    } catch {
      // Without storage the choice lasts for this page only.
    }
    document.documentElement.classList.toggle("dark", !isDark);
  }

  apply();
  prefersDark.addEventListener("change", apply);
  addEventListener("storage", apply);
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-theme-switch]")) change();
  });
})();
