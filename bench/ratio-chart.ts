/** Draws ratios with their spread as an SVG that reads well on light and dark pages. */

/** One row's figures; `ratio` above 1 is in our favour. One entry a round. */
export interface RowResult {
  readonly row: string;
  readonly title: string;
  readonly unit: string;
  readonly ours: readonly number[];
  readonly llama: readonly number[];
  readonly ratio: readonly number[];
  readonly note?: string;
}

const WIDTH = 760;
const LEFT = 290;
const RIGHT = 70;
const ROW = 30;
const TOP = 56;

/** Bars are medians, whiskers the least and most of all rounds; the line at 1 is llama.cpp. */
export function ratioChart(results: readonly RowResult[], machine: string): string {
  const rows = results.filter(({ ratio }) => ratio.length > 0);
  const most = Math.max(1.5, ...rows.flatMap(({ ratio }) => ratio));
  const x = (ratio: number) => LEFT + ((WIDTH - LEFT - RIGHT) * ratio) / most;
  const height = TOP + ROW * rows.length + 16;
  const bars = rows.map(({ title, ratio }, i) => {
    const sorted = ratio.toSorted((a, b) => a - b);
    const median = sorted[sorted.length >> 1]!;
    const y = TOP + ROW * i;
    const middle = y + ROW / 2;
    return `  <text class="label" x="${LEFT - 10}" y="${middle + 4}">${escaped(title)}</text>
  <rect class="bar" x="${LEFT}" y="${y + 6}" width="${(x(median) - LEFT).toFixed(1)}" height="${ROW - 12}" rx="2"/>
  <path class="spread" d="M${x(sorted[0]!).toFixed(1)} ${middle}H${x(sorted.at(-1)!).toFixed(1)}"/>
  <text class="value" x="${(x(sorted.at(-1)!) + 8).toFixed(1)}" y="${middle + 4}">${median.toFixed(2)}×</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Speed relative to llama.cpp">
  <style>
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .label { text-anchor: end; }
    .value { font-weight: 600; }
    .small { font-size: 11px; fill: #59636e; }
    .bar { fill: #2f81f7; }
    .spread { stroke: #1f2328; stroke-width: 1.5; fill: none; }
    .one { stroke: #59636e; stroke-dasharray: 4 3; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .small { fill: #9198a1; }
      .bar { fill: #4493f8; }
      .spread { stroke: #e6edf3; }
      .one { stroke: #9198a1; }
    }
  </style>
  <text x="16" y="20">Gemma Sidecar relative to llama.cpp: more is better for every row</text>
  <text class="small" x="16" y="38">${escaped(machine)}; bars are medians, lines the spread of all rounds</text>
${bars.join('\n')}
  <path class="one" d="M${x(1).toFixed(1)} ${TOP - 4}V${height - 12}"/>
</svg>
`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
