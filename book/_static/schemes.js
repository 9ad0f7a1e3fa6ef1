// Fetches all figures of a dark page, as browsers do on a light one. Otherwise a saved
// page or a full screenshot would lack the figures that were never scrolled to.
function wakeDarkFigures() {
  if (document.documentElement.dataset.theme !== "dark") return;
  for (const figure of document.querySelectorAll("img.only-dark"))
    figure.loading = "eager";
}

wakeDarkFigures();
new MutationObserver(wakeDarkFigures).observe(document.documentElement, {
  attributeFilter: ["data-theme"],
});
