// Draws every figure in the page's own colours, again when they change. No request leaves the page.
(function () {
  "use strict";
  var styles = getComputedStyle(document.documentElement);
  var coarse = window.matchMedia("(pointer: coarse)").matches;
  function colour(name) { return styles.getPropertyValue("--" + name).trim(); }
  function axis(given) {
    return Object.assign({}, given, {
      gridcolor: colour("rule"), linecolor: colour("rule"), zeroline: false, ticks: "",
      automargin: true, fixedrange: coarse, tickfont: { color: colour("muted"), size: 12 },
      title: Object.assign({}, given.title, { font: { color: colour("muted"), size: 12 }, standoff: 8 })
    });
  }
  function draw() {
    document.querySelectorAll("figure.plot").forEach(function (plot) {
      var figure = JSON.parse(plot.querySelector("script").textContent);
      figure.data.forEach(function (line) { line.line.color = colour(line.meta); });
      (figure.layout.shapes || []).forEach(function (band) {
        band.fillcolor = band.line.color = colour(band.name);
      });
      var layout = Object.assign({}, figure.layout, {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: coarse ? false : "zoom",
        font: { family: styles.getPropertyValue("font-family"), color: colour("ink") },
        margin: { l: 44, r: 12, t: 8, b: 40 },
        hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("rule"), font: { color: colour("ink") } },
        xaxis: axis(figure.layout.xaxis), yaxis: axis(figure.layout.yaxis)
      });
      Plotly.react(plot.querySelector(".canvas"), figure.data, layout, { displayModeBar: false, responsive: true });
    });
  }
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (one) { one.open = true; });
    draw();
  });
  window.addEventListener("afterprint", draw);
  document.documentElement.dataset.drawn = "yes";
})();
