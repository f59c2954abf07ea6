// Small charts over time, made with uPlot.

/* global uPlot */

const HEIGHT = 150;
const COLORS = ["--series-1", "--series-2", "--series-3", "--series-4"];
/** Of two lines with the same values, the first is seen in the gaps of the second. */
const DASHES = [[], [9, 6], [3, 6], [1, 4]];
const SWATCHES = ["solid", "dashed", "dotted", "dotted"];

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** All charts, on one time axis and with one cursor. */
export class Charts {
  #target;
  #charts;

  constructor(target, specs) {
    this.#target = target;
    this.#charts = specs.map((spec) => ({ spec, names: null, plot: null }));
    // Colours are drawn, not styled: they have to be drawn again.
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#clear());
    new ResizeObserver(() => this.#resize()).observe(target);
  }

  show(samples) {
    const times = samples.map((sample) => sample.at);
    for (const chart of this.#charts) {
      const lines = linesOf(chart.spec, samples);
      const names = lines.map(([name]) => name).join();
      if (!chart.plot || chart.names !== names) {
        chart.plot?.destroy();
        chart.names = names;
        this.#make(chart, lines);
      }
      chart.plot.setData([times, ...lines.map(([, value]) => samples.map(value))]);
    }
  }

  #make(chart, lines) {
    const { title, unit } = chart.spec;
    if (!chart.figure) {
      chart.figure = document.createElement("figure");
      this.#target.append(chart.figure);
    }
    const caption = document.createElement("figcaption");
    const heading = document.createElement("b");
    heading.textContent = title;
    caption.append(heading, legend(lines));
    chart.figure.replaceChildren(caption);
    const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false } };
    const options = {
      width: width(chart.figure),
      height: HEIGHT,
      legend: { show: false },
      // Half of a time and a little, which may stand at the last tick.
      padding: [null, 32, null, null],
      cursor: { sync: { key: "millrace" }, points: { size: 6 }, y: false },
      scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
      axes: [
        { ...axis, grid: { show: false }, space: 80, size: 36, gap: 9, values: (_, ticks) => ticks.map(clock) },
        { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "0" : unit(tick))) },
      ],
      series: [{}, ...lines.map(([label], at) => ({
        label,
        stroke: css(COLORS[at % COLORS.length]),
        width: 1.5,
        dash: DASHES[at % DASHES.length],
        spanGaps: false,
        points: { show: false },
      }))],
      hooks: { setCursor: [(plot) => tell(plot, caption, unit)] },
    };
    chart.plot = new uPlot(options, [[], ...lines.map(() => [])], chart.figure);
  }

  #resize() {
    for (const { plot, figure } of this.#charts) {
      plot?.setSize({ width: width(figure), height: HEIGHT });
    }
  }

  #clear() {
    for (const chart of this.#charts) {
      chart.plot?.destroy();
      chart.plot = null;
    }
  }
}

/** Name and value of each line; those by name come and go. */
function linesOf({ lines, byName }, samples) {
  if (lines) return lines;
  const names = new Set(samples.flatMap((sample) => Object.keys(byName(sample))));
  const sorted = [...names].sort().slice(0, COLORS.length);
  return sorted.map((name) => [name, (sample) => byName(sample)[name] ?? 0]);
}

function legend(lines) {
  const legend = document.createElement("span");
  legend.className = "legend";
  legend.append(...lines.map(([name], at) => {
    const [item, swatch] = [document.createElement("span"), document.createElement("i")];
    swatch.style.borderTopColor = `var(${COLORS[at % COLORS.length]})`;
    swatch.style.borderTopStyle = SWATCHES[at % SWATCHES.length];
    const value = document.createElement("output");
    item.append(swatch, `${name} `, value);
    return item;
  }));
  return legend;
}

/** The time of day: the last minutes need no date. */
function clock(at) {
  const [hours, minutes, seconds] = new Date(at * 1000).toTimeString().slice(0, 8).split(":");
  return seconds === "00" ? `${hours}:${minutes}` : `${hours}:${minutes}:${seconds}`;
}

/** Shows the values under the cursor beside the names. */
function tell(plot, caption, unit) {
  const at = plot.cursor.idx;
  caption.querySelectorAll("output").forEach((output, line) => {
    const value = at == null ? null : plot.data[line + 1]?.[at];
    output.textContent = value == null ? "" : unit(value);
  });
}

function width(figure) {
  const { paddingLeft, paddingRight } = getComputedStyle(figure);
  return Math.max(200, figure.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight));
}
