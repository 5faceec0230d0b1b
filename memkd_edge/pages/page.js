// SPDX-License-Identifier: Apache-2.0
// Draws a page's curves, shows its recordings over time, and runs the student that it holds.
"use strict";
(() => {
  // Okabe and Ito's colours, which people of every kind of colour vision tell apart.
  const COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#a6761d"];
  const colour = (index) => COLOURS[index % COLOURS.length];
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const read = (element) => JSON.parse(element.querySelector("script[type='application/json']").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const axis = (label) => ({
    label, labelSize: 22, size: 46, stroke: style("--soft"), font: "12px system-ui", labelFont: "12px system-ui",
    grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line"), width: 1 },
  });

  function chart(figure) {
    const data = read(figure), at = figure.querySelector(".plot");
    const series = data.names.map((name, index) => ({
      label: name || data.y, stroke: colour(index), width: 2, dash: index ? [4 * index, 3] : undefined,
      paths: data.points ? () => null : undefined, points: { show: true, size: 6, fill: colour(index) },
    }));
    const columns = data.columns.slice();
    if (data.marked !== null) {
      columns.push(data.columns[1].map((y, index) => (index === data.marked ? y : null)));
      series.push({ label: "the model's", stroke: style("--ink"), width: 2, paths: () => null, points: { show: true, size: 15 } });
    }
    const plot = new uPlot({
      width: Math.max(260, at.clientWidth), height: 260, series: [{ label: data.x }, ...series],
      scales: { x: { time: false } }, axes: [axis(data.x), axis(data.y)], cursor: { drag: { x: false } },
    }, columns, at);
    return { plot, at };
  }

  const NOT_YET = -1, NONE = -2;

  // Cells of a line of CSV; a quote within quotes is doubled.
  function cellsOf(line, separator) {
    const cells = [];
    for (let at = 0; at <= line.length;) {
      const quoted = /^\s*"((?:[^"]|"")*)"\s*/.exec(line.slice(at));
      const from = at + (quoted ? quoted[0].length : 0), end = line.indexOf(separator, from), until = end < 0 ? line.length : end;
      cells.push(quoted ? quoted[1].replace(/""/g, '"') + line.slice(from, until) : line.slice(at, until));
      at = until + 1;
    }
    return cells;
  }
  const quote = (text) => (/[",;\t]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  function spread(runs) {
    const values = new Int16Array(runs.reduce((sum, [, length]) => sum + length, 0));
    let at = 0;
    for (const [value, length] of runs) { values.fill(value, at, at + length); at += length; }
    return values;
  }

  // ---- the student ----

  class Student {
    constructor(module, channels, classes) {
      this.code = new WebAssembly.Instance(new WebAssembly.Module(bytes(module)), {}).exports;
      this.sample = new Float32Array(this.code.memory.buffer, this.code.sample_at(), channels);
      this.logits = new Float32Array(this.code.memory.buffer, this.code.logits_at(), classes);
    }
    begin() { this.code.begin(); }
    push(values) { this.sample.set(values); return this.code.push(); }
    scores() {
      const top = Math.max(...this.logits), parts = Array.from(this.logits, (logit) => Math.exp(logit - top));
      const sum = parts.reduce((a, b) => a + b, 0);
      return parts.map((part) => part / sum);
    }
  }

  // ---- recordings over time ----

  function player(root) {
    const data = read(root), C = data.channels.length, K = data.labels.length;
    const rate = data.rate || 1, unit = data.rate ? "s" : "samples";
    const scale = Float32Array.from(data.scale);
    const recordings = data.recordings.map((one) => unpacked(one));
    let shown = 0, plots = [], student = null, running = null, live = null, unplug = null;
    const word = (answer) => (answer === NONE ? "none" : answer === NOT_YET ? "not yet" : data.labels[answer]);
    const percent = (share) => `${(100 * share).toFixed(1)} %`;

    function unpacked(one) {
      const counts = new Int16Array(bytes(one.samples).buffer), T = counts.length / C;
      const channels = data.channels.map((_, c) => Float32Array.from({ length: T }, (_, t) => counts[t * C + c] * scale[c]));
      const packed = bytes(one.scores);
      const scores = data.labels.map((_, k) => Float32Array.from({ length: T }, (_, t) => packed[t * K + k] / 255));
      return {
        name: one.name, accuracy: one.accuracy, refused: one.refused, T, channels, scores, labels: spread(one.labels), decisions: spread(one.decisions),
        teacher: one.teacher && spread(one.teacher), time: Float64Array.from({ length: T }, (_, t) => t / rate),
      };
    }

    const make = (tag, properties = {}, ...children) => {
      const element = Object.assign(document.createElement(tag), properties);
      element.append(...children);
      return element;
    };
    const status = make("p", { className: "status" }), now = make("p", { className: "now" });
    status.setAttribute("role", "status");
    const say = (text, kind = "") => { status.textContent = text; status.className = `status ${kind}`; };
    const choice = make("select");
    choice.setAttribute("aria-label", "Recording");
    const fill = () => choice.replaceChildren(...recordings.map((one, index) => make("option", {
      value: index, textContent: one.accuracy === null ? one.name : `${one.name}: ${percent(one.accuracy)} right${one.refused ? `, ${percent(one.refused)} none` : ""}`,
    })));
    choice.onchange = () => { stop(); draw(Number(choice.value)); };
    const button = (text, title, action) => { const one = make("button", { type: "button", textContent: text, title, onclick: action }); one.setAttribute("aria-label", title); return one; };
    const zoom = (factor, move = 0) => {
      const { min, max } = plots[0].scales.x, half = ((max - min) / 2) * factor, middle = (min + max) / 2 + move * (max - min);
      show(middle - half, middle + half);
    };
    const show = (min, max) => { const end = recordings[shown].T / rate; for (const plot of plots) plot.setScale("x", { min: Math.max(0, min), max: Math.min(end, max) }); };
    const zooming = make("div", { className: "bar" }, choice,
      button("−", "Show more of the time", () => zoom(2)), button("+", "Show less of the time", () => zoom(0.5)),
      button("◀", "Earlier", () => zoom(1, -0.5)), button("▶", "Later", () => zoom(1, 0.5)),
      button("whole", "Show the whole recording", () => show(0, Infinity)));
    const moments = make("ol", { className: "moments" }, ...data.moments.map((one) => make("li", {}, button(
      `${((one.end - one.start) / rate).toFixed(data.rate ? 1 : 0)} ${unit}: ${data.labels[one.label]} taken for ${data.labels[one.decided]}`,
      `Show this moment of ${recordings[one.recording].name}`,
      () => { stop(); choice.value = one.recording; draw(one.recording); const pad = Math.max(2, (one.end - one.start) / rate); show(one.start / rate - pad, one.end / rate + pad); },
    ))));
    const strips = make("div", { className: "plot" }), scores = make("div", { className: "plot" }), signals = make("div", { className: "plot" });
    const speed = make("select", {}, ...[1, 10, 100].map((factor) => make("option", { value: factor, textContent: `${factor}x` })));
    speed.setAttribute("aria-label", "Speed");
    const play = button("▶ run the student", "Run the student along this recording", () => (running ? stop() : start()));
    const check = button("check all", "Run the student along all recordings and compare every decision", () => checkAll());
    const motion = button("this phone's sensors", "Run the student on the motion sensors of this device", () => sensors());
    const file = make("input", { type: "file", accept: ".csv,text/csv" });
    file.setAttribute("aria-label", "CSV file");
    const taken = (one) => one && one.text().then((text) => take(text, one.name), (error) => say(`${one.name}: cannot be read (${error.message}).`, "wrong"));
    file.onchange = () => taken(file.files[0]);
    const header = data.channels.map(quote).join(",");
    const drop = make("div", { className: "drop" }, `Drop a CSV file here, or choose one. Its first line: ${header}; then one sample a line`
      + `${data.rate ? `, ${data.rate} a second` : ""}, in ${data.units.map((one) => one || "the units of training").join(", ")}. `, file);
    drop.ondragover = (event) => event.preventDefault();
    drop.ondrop = (event) => { event.preventDefault(); taken(event.dataTransfer.files[0]); };
    const running_bar = make("div", { className: "bar" }, play, speed, check, motion);
    const some = data.of > recordings.length ? `The ${recordings.length} worst of ${data.of} are shown. ` : "";
    const intro = make("p", { className: "note", textContent: data.noise ? "Seeded noise, without labels." :
      `${some}Worst first. Drag over a plot to zoom, double-click for the whole.${data.refuses ? " Grey: none, where the student refuses." : ""}${data.moments.length ? " Longest wrong stretches:" : ""}` });
    root.append(running_bar, status, now, zooming, intro, moments, strips, scores, signals, drop);
    fill();

    // Strips of classes: colour and, where there is room, the name.
    function bands(rows) {
      return (plot) => {
        const { ctx } = plot, { left, top, width, height } = plot.bbox, ratio = devicePixelRatio || 1;
        ctx.save();
        ctx.beginPath(); ctx.rect(left, top, width, height); ctx.clip();
        rows.forEach(([, values], row) => {
          const y = top + (row * height) / rows.length, h = height / rows.length - 3 * ratio;
          let from = 0;
          for (let t = 1; t <= values.length; t++) {
            if (t < values.length && values[t] === values[from]) continue;
            const x0 = plot.valToPos(from / rate, "x", true), x1 = plot.valToPos(t / rate, "x", true), k = values[from];
            if (k !== NOT_YET && x1 > left && x0 < left + width) {
              ctx.fillStyle = k === NONE ? style("--soft") : colour(k); ctx.globalAlpha = 0.55; ctx.fillRect(x0, y, Math.max(1, x1 - x0), h); ctx.globalAlpha = 1;
              ctx.fillStyle = style("--ink"); ctx.font = `${11 * ratio}px system-ui`; ctx.textBaseline = "middle"; ctx.textAlign = "left";
              const x = Math.max(x0, left) + 3 * ratio;
              if (ctx.measureText(word(k)).width < Math.min(x1, left + width) - x - 3 * ratio) ctx.fillText(word(k), x, y + h / 2);
            }
            from = t;
          }
        });
        if (live !== null) { const x = plot.valToPos(live / rate, "x", true); ctx.fillStyle = style("--mark"); ctx.fillRect(x, top, 2 * ratio, height); }
        ctx.restore();
      };
    }

    function draw(index) {
      shown = index;
      for (const plot of plots) plot.destroy();
      const one = recordings[index], width = Math.max(260, root.clientWidth), sync = { key: "time", setSeries: false, scales: ["x", null] };
      const rows = [["label", one.labels], ["student", one.decisions], ...(one.teacher ? [["teacher", one.teacher]] : [])];
      let moving = false;
      const together = (plot, key) => {
        if (key !== "x" || moving) return;
        moving = true;
        for (const other of plots) if (other !== plot) other.setScale("x", { min: plot.scales.x.min, max: plot.scales.x.max });
        moving = false;
      };
      const common = (height, axes, series, hooks = {}) => ({
        width, height, axes, series: [{ label: unit }, ...series], scales: { x: { time: false }, y: { auto: true } },
        cursor: { sync, drag: { x: true, y: false } }, hooks: { setScale: [together], ...hooks }, legend: { show: series.length > 1 },
      });
      const silent = { ...axis(""), values: (_, splits) => splits.map((value) => { const row = rows.length - 0.5 - value; return Number.isInteger(row) && rows[row] ? rows[row][0] : ""; }), splits: () => rows.map((_, row) => row + 0.5), grid: { show: false }, size: 60 };
      const wide = (one) => ({ ...one, size: 60 });
      plots = [
        new uPlot({ ...common(28 * rows.length + 60, [axis(""), silent], [{ show: true, paths: () => null, points: { show: false } }], { draw: [bands(rows)] }), scales: { x: { time: false }, y: { auto: false, range: [0, rows.length] } } },
          [one.time, new Array(one.T).fill(null)], strips),
        new uPlot({ ...common(190, [axis(""), wide(axis("score"))], data.labels.map((label, k) => ({ label, stroke: colour(k), width: 1.5, dash: k ? [3 + 2 * k, 2] : undefined }))), scales: { x: { time: false }, y: { range: [0, 1] } } },
          [one.time, ...one.scores], scores),
        new uPlot(common(220, [axis(data.rate ? "seconds since the start of the recording" : "samples since the start of the recording"), wide(axis(""))],
          data.channels.map((label, c) => ({ label: data.units[c] ? `${label} (${data.units[c]})` : label, stroke: colour(c), width: 1, dash: c ? [3 + 2 * c, 2] : undefined }))),
          [one.time, ...one.channels], signals),
      ];
    }

    // ---- running the student ----

    const at = (one, t) => one.channels.map((channel) => channel[t]);

    function checkAll() {
      stop();
      let samples = 0, different = 0;
      const began = performance.now();
      for (const one of recordings) {
        if (!one.reference) continue;
        student.begin();
        for (let t = 0; t < one.T; t++) if (student.push(at(one, t)) !== one.reference[t]) different++;
        samples += one.T;
      }
      const seconds = (performance.now() - began) / 1000;
      const real = data.rate ? `, ${Math.round(samples / data.rate / Math.max(seconds, 1e-3)).toLocaleString("en")}x real time` : "";
      say(`${samples.toLocaleString("en")} samples, ${different} decisions differ from the reference${real}.`, different ? "wrong" : "right");
      return { samples, different };
    }

    function start() {
      const one = recordings[shown];
      student.begin();
      live = 0;
      play.textContent = "■ stop";
      const began = performance.now(), factor = Number(speed.value);
      const step = () => {
        const until = Math.min(one.T, Math.floor(((performance.now() - began) / 1000) * rate * factor));
        let decision = NOT_YET;
        for (; live < until; live++) decision = student.push(at(one, live));
        if (until) tell(decision);
        plots[0].redraw(false);
        if (live < one.T) running = requestAnimationFrame(step); else stop();
      };
      running = requestAnimationFrame(step);
    }

    function tell(decision) {
      const best = student.scores();
      now.textContent = `${word(decision)}  ·  ${data.labels.map((label, k) => `${label} ${best[k].toFixed(2)}`).join("  ")}`;
    }

    function stop() {
      if (running) cancelAnimationFrame(running);
      running = null; live = null;
      if (unplug) unplug();
      unplug = null;
      play.textContent = "▶ run the student";
      if (plots.length) plots[0].redraw(false);
    }

    // ---- a file of one's own ----

    function take(text, name) {
      const lines = text.trim().split(/\r\n|\n|\r/), bare = lines[0].replace(/"(?:[^"]|"")*"/g, "");
      const separator = /;/.test(bare) ? ";" : /\t/.test(bare) ? "\t" : ",";
      // A column is named as the model's channel, with a unit in brackets or without.
      const names = cellsOf(lines[0], separator).map((one) => /^(.*?)\s*(?:\[(.*)\])?$/s.exec(one.trim()));
      const columns = data.channels.map((channel) => names.findIndex((one) => one[1] === channel || one[0] === channel));
      if (columns.includes(-1)) {
        say(`${name}: no column ${data.channels.filter((_, c) => columns[c] < 0).join(", ")}; the first line must name ${header}.`, "wrong");
        return;
      }
      const other = data.channels.findIndex((_, c) => names[columns[c]][2] && data.units[c] && names[columns[c]][2] !== data.units[c]);
      if (other >= 0) {
        say(`${name}: ${data.channels[other]} is in ${names[columns[other]][2]}, and the model takes ${data.units[other]}; convert it.`, "wrong");
        return;
      }
      const channels = data.channels.map(() => new Float32Array(lines.length - 1));
      for (let t = 0; t + 1 < lines.length; t++) {
        const cells = lines[t + 1].includes('"') ? cellsOf(lines[t + 1], separator) : lines[t + 1].split(separator);
        for (let c = 0; c < C; c++) {
          const cell = cells[columns[c]], value = Number(cell);
          if (cell === undefined || cell.trim() === "" || !Number.isFinite(value)) {
            say(`${name}, line ${t + 2}: ${data.channels[c]} is ${cell === undefined ? "missing" : `"${cell}"`}, not a number; correct it or leave the line out.`, "wrong");
            return;
          }
          channels[c][t] = value;
        }
      }
      add(name, channels);
    }

    function add(name, channels) {
      if (!student || channels[0].length === 0) { say(student ? `${name}: no samples.` : data.without_module, "wrong"); return; }
      const T = channels[0].length, one = {
        name, accuracy: null, T, channels, scores: data.labels.map(() => new Float32Array(T)), labels: new Int16Array(T).fill(-1),
        decisions: new Int16Array(T), teacher: null, time: Float64Array.from({ length: T }, (_, t) => t / rate),
      };
      student.begin();
      for (let t = 0; t < T; t++) {
        one.decisions[t] = student.push(at(one, t));
        student.scores().forEach((score, k) => { one.scores[k][t] = score; });
      }
      recordings.push(one);
      stop(); fill();
      choice.value = recordings.length - 1;
      draw(recordings.length - 1);
      const counted = [...data.labels.keys(), NONE, NOT_YET].map((k) => [word(k), one.decisions.filter((decision) => decision === k).length]).filter(([, count]) => count);
      say(`${name}: ${T.toLocaleString("en")} samples; ${counted.map(([label, count]) => `${label} ${percent(count / T)}`).join(", ")}.`, "right");
    }

    // ---- the sensors of this device ----

    // What a browser gives: m/s2 with gravity, and degrees a second.
    function reading(event) {
      const a = event.accelerationIncludingGravity || {}, r = event.rotationRate || {};
      const values = { acc: [a.x, a.y, a.z], gyro: [r.beta, r.gamma, r.alpha] };
      let next = { acc: 0, gyro: 0 };
      return data.channels.map((name, c) => {
        const kind = /gyr|rot|deg|rad/i.test(name + data.units[c]) ? "gyro" : "acc", axisAt = "xyz".indexOf((/[xyz]/i.exec(name.replace(/acc|gyro?/gi, "")) || ["?"])[0].toLowerCase());
        const value = values[kind][axisAt >= 0 ? axisAt : next[kind]++ % 3] || 0;
        if (kind === "gyro") return /rad/i.test(data.units[c]) ? (value * Math.PI) / 180 : value;
        return /^m?g$/i.test(data.units[c]) ? (value / 9.80665) * (/mg/i.test(data.units[c]) ? 1000 : 1) : value;
      });
    }

    async function sensors() {
      if (!(location.protocol === "https:" || ["localhost", "127.0.0.1"].includes(location.hostname))) { say("Browsers give motion sensors to pages served over https only: put this file on such a server.", "wrong"); return; }
      if (typeof DeviceMotionEvent === "undefined") { say("This browser has no motion sensors.", "wrong"); return; }
      if (typeof DeviceMotionEvent.requestPermission === "function" && (await DeviceMotionEvent.requestPermission()) !== "granted") { say("The browser was not allowed to read the motion sensors.", "wrong"); return; }
      stop(); student.begin();
      let latest = null, told = 0;
      const heard = (event) => { latest = reading(event); };
      addEventListener("devicemotion", heard);
      // The sensor's own rate differs from the model's: the latest reading is pushed at the model's.
      const began = performance.now(); let pushed = 0;
      const timer = setInterval(() => {
        if (latest === null) return;
        let decision = NOT_YET;
        for (const until = Math.floor(((performance.now() - began) / 1000) * rate); pushed < until; pushed++) decision = student.push(latest);
        if (performance.now() - told > 100) { told = performance.now(); tell(decision); }
      }, 1000 / Math.max(20, Math.min(rate, 60)));
      unplug = () => { clearInterval(timer); removeEventListener("devicemotion", heard); };
      say("Running on this device's motion sensors. The model was trained at one place of the body and one way round: hold it so.");
    }

    for (const one of recordings) one.reference = one.decisions;
    if (data.module === null) {
      for (const one of [play, speed, check, motion, drop]) one.hidden = true;
      say(`The student does not run in this page: ${data.without_module}`);
    } else {
      student = new Student(data.module, C, K);
      const wrong = student.code.selftest();
      say(wrong ? `Self-test: ${wrong} logits are wrong; do not trust what it decides here.` : "Self-test passed: the student in this page gives the bits that it gives on a microcontroller.", wrong ? "wrong" : "right");
    }
    draw(0);
    window.memkdEdge = { checkAll, take, recordings, show: draw };
    return () => draw(shown);
  }

  const root = document.getElementById("player"), redraw = root ? player(root) : () => {};
  let charts = [...document.querySelectorAll("figure.chart")].map((figure) => [figure, chart(figure)]);
  const again = () => {
    redraw();
    charts = charts.map(([figure, { plot }]) => { plot.destroy(); return [figure, chart(figure)]; });
  };
  let width = document.body.clientWidth;
  addEventListener("resize", () => { if (document.body.clientWidth !== width) { width = document.body.clientWidth; again(); } });
  dark.addEventListener("change", again);
})();
