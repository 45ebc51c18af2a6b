/** Light and dark values of the page's colours. Series colours follow Okabe and Ito, shifted until they hold on either ground. */
const COLOURS: readonly (readonly [name: string, light: string, dark: string])[] = [
  ['ground', '#ffffff', '#14171a'],
  ['card', '#f6f7f8', '#1c2024'],
  ['ink', '#1b1f23', '#e6e8ea'],
  ['quiet', '#5a626a', '#a0a8b0'],
  ['rule', '#d9dde1', '#343a40'],
  ['grid', '#e6e9ec', '#2a2f35'],
  ['good', '#00795a', '#3ecf9f'],
  ['fair', '#9a6700', '#f0b955'],
  ['poor', '#b3361b', '#ff8a66'],
  ['s0', '#0b67b0', '#5cabec'],
  ['s1', '#d55e00', '#ff9149'],
  ['s2', '#00916a', '#37c79a'],
  ['s3', '#a94c8f', '#e391ca'],
  ['s4', '#c08600', '#f0c24c'],
  ['s5', '#4fa9dc', '#9cd6fb'],
  ['s6', '#5b50a3', '#aaa2ea'],
  ['s7', '#8b9299', '#8d959d'],
  ['running', '#00916a', '#2fae86'],
  ['draining', '#8fcfb8', '#7fd6bb'],
  ['waking', '#e0a100', '#f0c24c'],
  ['falling', '#f1d28a', '#b9923b'],
  ['sleeping', '#8fa6c4', '#5d7698'],
  ['deep', '#55698a', '#3d4d66'],
  ['down', '#d5d9dd', '#3a4046'],
  ['failed', '#c43b1d', '#ff6f4a'],
];

const variables = (column: 1 | 2): string => COLOURS.map((colour) => `--${colour[0]}:${colour[column]}`).join(';');

const swatches = [
  ...Array.from({ length: 8 }, (_, index) => `.c${index}{--c:var(--s${index})}`),
  ...['running', 'draining', 'waking', 'falling', 'sleeping', 'deep', 'down', 'failed'].map(
    (state) => `.st-${state}{--c:var(--${state})}`,
  ),
  '.st-other{--c:var(--s7)}.ink{--c:var(--ink)}',
  '.m-good{--c:var(--good)}.m-fair{--c:var(--fair)}.m-poor{--c:var(--poor)}.m-none{--c:var(--rule)}',
].join('');

/** The whole style sheet of the report. What scrolls sideways has a shadow at the end where more follows: the shadow stands still, and what covers it scrolls along. */
export const STYLE = `
:root{color-scheme:light dark;${variables(1)}}
@media (prefers-color-scheme:dark){:root{${variables(2)}}}
@media print{:root{color-scheme:light;${variables(1)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:1136px;margin:0 auto;padding:28px 24px 56px}
h1{font-size:26px;line-height:1.25;margin:0 0 2px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:19px;margin:44px 0 14px}
h3{font-size:15px;margin:0 0 2px}
p{margin:0}
.subtitle,.lead{color:var(--quiet)}.lead{font-size:13px}
.facts{display:flex;flex-wrap:wrap;gap:2px 22px;margin:10px 0 0;padding:0;list-style:none;color:var(--quiet);font-size:13.5px}
.facts b{font-weight:500;color:var(--ink);overflow-wrap:anywhere}
code{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.verdict{font-size:18px;margin:22px 0 14px}
.good{color:var(--good)}.fair{color:var(--fair)}.poor{color:var(--poor)}
.tiles{display:grid;grid-template-columns:repeat(12,1fr);gap:12px}
.tile{grid-column:span 3;background:var(--card);border-radius:8px;padding:12px 16px 14px;min-width:0}
.tile.big{grid-column:span 6}
.tile h3{font-size:13px;font-weight:500;color:var(--quiet)}
.tile .value{font-size:27px;line-height:1.3;font-weight:600;letter-spacing:-.015em;font-variant-numeric:tabular-nums}
.tile .value small{font-size:14px;font-weight:400;color:var(--quiet);letter-spacing:0}
.tile p{margin-top:3px;font-size:13px;color:var(--quiet)}
.meters{display:grid;grid-template-columns:minmax(64px,max-content) 1fr max-content;gap:5px 12px;align-items:center;margin:8px 0 0;font-size:13px;font-variant-numeric:tabular-nums}
.meter{height:9px;border-radius:2px;background:var(--rule);overflow:hidden}
.meter i{display:block;height:100%;background:var(--c)}
.meters b{font-weight:500;text-align:right}
.figures{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:36px 32px}
figure{margin:0;min-width:0;break-inside:avoid;display:flex;flex-direction:column}
figure.wide{grid-column:1/-1}
figcaption p{font-size:13px;color:var(--quiet)}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;margin:6px 0 4px;padding:0;list-style:none;font-size:13px}
.legend li{display:flex;align-items:center;gap:6px;overflow-wrap:anywhere}
.key{flex:none;width:14px;height:11px;border-radius:2px;background:var(--c)}
.key.line{height:3px;width:18px;border-radius:0}
.key.dashed{height:0;width:18px;border-radius:0;background:none;border-top:2px dashed var(--c)}
.key.soft{opacity:.45}
.scroll{overflow-x:auto;background:linear-gradient(to right,var(--ground) 50%,transparent) 0 0/36px 100% no-repeat local,linear-gradient(to left,var(--ground) 50%,transparent) 100% 0/36px 100% no-repeat local,linear-gradient(to right,var(--rule),transparent) 0 0/14px 100% no-repeat scroll,linear-gradient(to left,var(--rule),transparent) 100% 0/14px 100% no-repeat scroll}
.scroll+.scroll{margin-top:26px}
figure .scroll{margin-top:auto}
.scroll+.figures{margin-top:36px}
svg{display:block;width:100%;height:auto;font-family:inherit;font-variant-numeric:tabular-nums}
text{fill:var(--ink)}
text.tick,text.label{fill:var(--quiet);font-size:11.5px}
text.end{text-anchor:end}text.middle{text-anchor:middle}
text.group{font-weight:600;font-size:12.5px}
text.bad{fill:var(--poor)}
.grid{stroke:var(--grid);stroke-width:1}
.axis{stroke:var(--quiet);stroke-width:1}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.under{stroke-width:4.5}
.line.thin{stroke-width:1.25}
.dashed{stroke-dasharray:4 4}
.area{fill:var(--c);opacity:.28}
.fill{fill:var(--c);stroke:var(--ground);stroke-width:1}
.dot{fill:var(--c);stroke:var(--ground);stroke-width:1}
.touch{fill:transparent}
.target{stroke:var(--c);stroke-width:1.25;stroke-dasharray:5 4}
.band{fill:var(--c);opacity:.3}
.empty{fill:var(--card)}
.warmup{fill:var(--quiet);opacity:.13}
.serve{fill:var(--c)}
.wait{fill:var(--c);opacity:.3}
.cold{fill:var(--c);fill-opacity:.3;stroke:var(--c);stroke-width:1;stroke-dasharray:2 2}
.span{stroke:var(--rule);stroke-width:2}
.deadline{stroke:var(--ink);stroke-width:1.5}
.deadline.over{stroke:var(--poor)}
table{border-collapse:collapse;font-size:13.5px;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:left;border-bottom:1px solid var(--rule);vertical-align:top}
th{font-weight:500;color:var(--quiet);font-size:12.5px;vertical-align:bottom}
th:first-child,td:first-child{padding-left:0}
td.number,th.number{text-align:right;white-space:nowrap}
td.name{min-width:96px;max-width:260px;overflow-wrap:anywhere}
td.text{min-width:150px}
table.few{width:auto;min-width:min(100%,560px)}
td.why{min-width:180px;max-width:420px;overflow-wrap:anywhere}
tr.total td{font-weight:600}
td.best{font-weight:600;color:var(--good)}
details{margin-top:16px}
summary{cursor:pointer;font-weight:500}
details>*:not(summary){margin-top:10px}
.notes li{overflow-wrap:anywhere}
.split{display:flex;height:10px;min-width:120px;border-radius:2px;overflow:hidden;margin-top:5px}
.split i{display:block;background:var(--c)}
@media (max-width:860px){
main{padding:20px 16px 40px}
.tile{grid-column:span 6}.tile.big{grid-column:1/-1}
.figures{grid-template-columns:minmax(0,1fr)}
figure.wide svg{min-width:820px}
}
@media (max-width:460px){.tile .value{font-size:22px}.scroll>svg{min-width:430px}}
@media print{main{max-width:none;padding:0}details:not([open])>*:not(summary){display:none}.scroll{overflow:visible;background:none}h2{break-after:avoid}}
${swatches}
`.trim();
