// On a dark page all figures are fetched, as on a light one; else a page that is saved
// or pictured as a whole would lack those that nobody has scrolled to.
function wakeDarkFigures() {
  if (document.documentElement.dataset.theme !== "dark") return;
  for (const figure of document.querySelectorAll("img.only-dark"))
    figure.loading = "eager";
}

wakeDarkFigures();
new MutationObserver(wakeDarkFigures).observe(document.documentElement, {
  attributeFilter: ["data-theme"],
});
