// Draws every figure in the page's own colours, again when they change; zooms plots of one axis
// together; shows any of them as a table. No request leaves the page.
(function () {
  "use strict";
  var styles = getComputedStyle(document.documentElement);
  var coarse = window.matchMedia("(pointer: coarse)").matches;
  var WORDS = { better: "good", worse: "bad", same: "quiet", cannot_tell: "open", not_comparable: "muted" };
  var hidden = { key: {}, role: {} };  // what the legends' switches have put out
  var ranges = {};                     // group -> range of its x axis; none: the whole
  var plots = Array.prototype.slice.call(document.querySelectorAll("figure.plot")).map(function (figure) {
    return { figure: figure, canvas: figure.querySelector(".canvas"), group: figure.dataset.group,
             given: JSON.parse(figure.querySelector("script").textContent) };
  });

  function colour(name) { return styles.getPropertyValue("--" + name).trim() || name; }
  function copy(value) { return JSON.parse(JSON.stringify(value)); }
  function axis(given, extra) {
    return Object.assign(copy(given), {  // plotly writes into ranges that it is given
      gridcolor: colour("rule"), linecolor: colour("rule"), zeroline: false, ticks: "",
      automargin: true, tickfont: { color: colour("muted"), size: 12 },
      title: Object.assign({}, given.title, { font: { color: colour("muted"), size: 12 }, standoff: 8 })
    }, extra);
  }
  function shown(trace) { return !(hidden.key[trace.meta.key] || hidden.role[trace.meta.role]); }
  function inked(trace) {
    var ink = colour(WORDS[trace.meta.word] || trace.meta.key);
    trace.line.color = ink;
    if (trace.marker) { trace.marker.color = ink; trace.marker.line = { color: ink, width: 1.5 }; }
    if (trace.error_x) { trace.error_x.color = ink; }
    if (trace.error_y) { trace.error_y.color = ink; }
    trace.visible = shown(trace);
    return trace;
  }
  function layoutOf(plot) {
    var given = plot.given.layout;
    var layout = Object.assign({}, copy(given), {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: coarse ? false : "zoom",
      font: { family: styles.getPropertyValue("font-family"), color: colour("ink"), size: 12 },
      margin: { l: 44, r: 14, t: given.annotations ? 22 : 8, b: 40 },
      hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("rule"), font: { color: colour("ink") } },
      xaxis: axis(given.xaxis, { fixedrange: coarse }), yaxis: axis(given.yaxis, { fixedrange: true }),
      yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true }
    });
    if (ranges[plot.group]) { layout.xaxis.range = ranges[plot.group].slice(); layout.xaxis.autorange = false; }
    (layout.shapes || []).forEach(function (one) { one.fillcolor = one.line.color = colour(one.name); });
    (layout.annotations || []).forEach(function (one) { one.font = { color: colour("muted"), size: 11 }; });
    return layout;
  }
  function draw() {
    plots.forEach(function (plot) {
      Plotly.react(plot.canvas, copy(plot.given.data).map(inked), layoutOf(plot),
        { displayModeBar: false, responsive: true });
    });
  }

  // --- zoom: one range for all plots of a group ------------------------------------------------
  function near(one, other) {
    return Math.abs(one[0] - other[0]) + Math.abs(one[1] - other[1]) < 1e-6 * Math.abs(other[1] - other[0]);
  }
  function zoom(group, range) {
    if (range) { ranges[group] = range; } else { delete ranges[group]; }
    plots.filter(function (one) { return one.group === group; }).forEach(function (one) {
      var to = range || one.given.layout.xaxis.range;
      Plotly.relayout(one.canvas, to ? { "xaxis.range": to.slice(), "xaxis.autorange": false } : { "xaxis.autorange": true });
    });
  }
  // Told by a plot that its axis moved: by the reader's hand, or a little later by zoom() itself.
  // What is as the group has it already goes no further, so plots cannot chase each other.
  function listen(plot) {
    plot.canvas.on("plotly_relayout", function (change) {
      var low = change["xaxis.range[0]"], high = change["xaxis.range[1]"], held = ranges[plot.group];
      var whole = plot.given.layout.xaxis.range;
      if (low !== undefined) {
        if (whole && near([low, high], whole)) { if (held) { zoom(plot.group, null); } }
        else if (!held || !near([low, high], held)) { zoom(plot.group, [low, high]); }
      } else if (change["xaxis.autorange"] && held) { zoom(plot.group, null); }
    });
  }
  function step(group, how) {
    var first = plots.filter(function (one) { return one.group === group; })[0];
    if (!first || how === "whole") { return zoom(group, null); }
    var now = first.canvas.layout.xaxis.range.map(Number), width = now[1] - now[0], middle = (now[0] + now[1]) / 2;
    var half = how === "in" ? width / 4 : how === "out" ? width : width / 2;
    var shift = how === "back" ? -width / 2 : how === "on" ? width / 2 : 0;
    zoom(group, [middle + shift - half, middle + shift + half]);
  }
  document.querySelectorAll(".tools button").forEach(function (button) {
    button.addEventListener("click", function () { step(button.parentElement.dataset.group, button.dataset.zoom); });
  });

  // --- switches: a contender or a kind of line, on every plot at once -----------------------------
  document.querySelectorAll(".switch").forEach(function (button) {
    button.addEventListener("click", function () {
      var what = button.dataset.key ? "key" : "role", name = button.dataset[what];
      hidden[what][name] = !hidden[what][name];
      document.querySelectorAll('.switch[data-' + what + '="' + name + '"]').forEach(function (one) {
        one.setAttribute("aria-pressed", String(!hidden[what][name]));
      });
      plots.forEach(function (plot) {
        var seen = plot.given.data.map(shown);
        if (seen.length) { Plotly.restyle(plot.canvas, { visible: seen }); }
      });
    });
  });

  // --- tables: made of the very data that is drawn ------------------------------------------------
  function text(value) {
    if (value === null || value === undefined) { return "–"; }
    return typeof value === "number" ? value.toLocaleString("en", { maximumSignificantDigits: 5 }) : String(value);
  }
  function row(parent, cells, heading) {
    var tr = parent.insertRow();
    cells.forEach(function (cell, index) {
      var made = tr.appendChild(document.createElement(heading || index === 0 ? "th" : "td"));
      if (made.tagName === "TH") { made.scope = heading ? "col" : "row"; }
      made.textContent = cell;
    });
  }
  function listed(data) {  // a plot whose y axis lists things: a row per mark
    var rows = [["what", "shown as", "value", "from", "to"]];
    data.forEach(function (trace) {
      trace.x.forEach(function (x, i) {
        var bar = trace.error_x;
        rows.push([trace.y[i], trace.text ? trace.text[i] : trace.name, text(x) + " " + trace.meta.unit,
          bar ? text(x - bar.arrayminus[i]) : "–", bar ? text(x + bar.array[i]) : "–"]);
      });
    });
    return rows;
  }
  function crossed(data, title) {  // any other: a row per place on the x axis, a column per line
    var lines = data.filter(function (trace) { return trace.meta.role !== "event" && trace.meta.role !== "cell"; });
    var at = {};
    lines.forEach(function (trace, column) {
      trace.x.forEach(function (x, i) {
        at[x] = at[x] || { x: x, name: trace.text ? trace.text[i] : text(x), cells: lines.map(function () { return null; }) };
        at[x].cells[column] = trace.y[i];
      });
    });
    var rows = Object.keys(at).map(function (x) { return at[x]; }).sort(function (a, b) { return a.x - b.x; });
    return [[title].concat(lines.map(function (trace) { return trace.name + ", " + trace.meta.unit; }))]
      .concat(rows.map(function (one) { return [one.name].concat(one.cells.map(text)); }));
  }
  function tabulate(plot, box) {
    var layout = plot.given.layout, table = document.createElement("table");
    var rows = layout.meta && layout.meta.table === "y" ? listed(plot.given.data)
      : crossed(plot.given.data, layout.xaxis.title.text);
    table.createCaption().textContent = plot.figure.querySelector("figcaption b").textContent;
    row(table.createTHead(), rows[0], true);
    var body = table.createTBody();
    rows.slice(1).forEach(function (cells) { row(body, cells, false); });
    box.replaceChildren(table);
  }
  plots.forEach(function (plot) {
    var button = plot.figure.querySelector(".tabular"), box = plot.figure.querySelector(".data");
    button.addEventListener("click", function () {
      if (box.hidden && !box.firstChild) { tabulate(plot, box); }
      box.hidden = !box.hidden;
      button.setAttribute("aria-expanded", String(!box.hidden));
    });
  });

  draw();
  plots.forEach(listen);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (one) { one.open = true; });
    draw();
  });
  window.addEventListener("afterprint", draw);
  document.documentElement.dataset.drawn = "yes";
})();
