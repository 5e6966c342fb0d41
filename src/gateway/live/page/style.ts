/** The page's style sheet. Every meaning of a colour is also shown as a word. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #f6f5f1; --card: #ffffff; --ink: #1d2321; --soft: #57615d; --line: #d9d9d2;
  --accent: #1f6f54; --ok: #1f6f54; --warn: #8a5300; --bad: #b3261e; --idle: #57615d;
  --ok-ground: #e3f1ea; --warn-ground: #fbeed8; --bad-ground: #fbe4e1; --idle-ground: #ecece7;
  --chart-left: #b9b8ae;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131816; --card: #1b2220; --ink: #e9eeea; --soft: #a3afa9; --line: #313a37;
    --accent: #6fcfa6; --ok: #6fcfa6; --warn: #f0b45b; --bad: #ff9a8f; --idle: #a3afa9;
    --ok-ground: #183329; --warn-ground: #3a2b12; --bad-ground: #421f1c; --idle-ground: #262e2b;
    --chart-left: #66706b;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif;
  font-variant-numeric: tabular-nums;
}
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
h1, h2, h3, p, dl, dd, ol, ul { margin: 0; padding: 0; }
h1 { font-size: 1.05rem; letter-spacing: -0.01em; }
h2 { font-size: 0.8rem; font-weight: 600; color: var(--soft); text-transform: uppercase; letter-spacing: 0.06em; }
header {
  display: flex; flex-wrap: wrap; gap: 0.4rem 1.2rem; align-items: center;
  padding: 0.9rem 1.5rem; border-bottom: 1px solid var(--line); background: var(--card);
}
header p { color: var(--soft); }
header #server { flex: 1; min-width: 12rem; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 1rem; top: 0.5rem; background: var(--card); padding: 0.4rem 0.8rem; z-index: 1; }
main { max-width: 1440px; margin: 0 auto; padding: 1.25rem 1.5rem 3rem; display: grid; gap: 1.25rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1rem 1.15rem; min-width: 0; }
.card > h2 { margin-bottom: 0.6rem; }
.word { display: inline-block; padding: 0.08rem 0.55rem; border-radius: 999px; font-size: 0.82rem; font-weight: 600; white-space: nowrap; }
.word.ok { color: var(--ok); background: var(--ok-ground); }
.word.warn { color: var(--warn); background: var(--warn-ground); }
.word.bad { color: var(--bad); background: var(--bad-ground); }
.word.idle { color: var(--idle); background: var(--idle-ground); }

.key { display: grid; grid-template-columns: repeat(6, 1fr); gap: 0; padding: 0; overflow: hidden; }
.key > div { padding: 0.9rem 1.15rem 1rem; border-left: 1px solid var(--line); min-width: 0; }
.key > div:first-child { border-left: 0; }
.key dt { color: var(--soft); font-size: 0.85rem; }
.key dd { font-size: clamp(1.7rem, 3.2vw, 2.9rem); font-weight: 650; line-height: 1.1; letter-spacing: -0.03em; height: 1.15em; white-space: nowrap; overflow: hidden; }
.key dd small { font-size: 0.36em; font-weight: 500; letter-spacing: 0; color: var(--soft); margin-left: 0.15em; }
.key dd.under { color: var(--soft); font-size: 0.85rem; font-weight: 400; line-height: 1.4; letter-spacing: 0; height: 2.8em; white-space: normal; }

.course svg { display: block; width: 100%; height: 132px; border-bottom: 1px solid var(--line); }
.course .axis { display: flex; justify-content: space-between; color: var(--soft); font-size: 0.8rem; }
.course .head { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0.3rem 1rem; margin-bottom: 0.5rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; list-style: none; color: var(--soft); font-size: 0.85rem; }
.legend i { display: inline-block; width: 0.7em; height: 0.7em; border-radius: 2px; margin-right: 0.4em; }
.complete { fill: var(--accent); background: var(--accent); }
.failed { fill: var(--bad); background: var(--bad); }
.left { fill: var(--chart-left); background: var(--chart-left); }

.halves { display: grid; grid-template-columns: minmax(0, 1.75fr) minmax(0, 1fr); gap: 1.25rem; align-items: start; }
.beside { display: grid; gap: 1.25rem; }
#layers { list-style: none; position: relative; }
#layers::before { content: ''; position: absolute; left: 0.7rem; top: 0.9rem; bottom: 0.9rem; width: 2px; background: var(--line); }
#layers > li { position: relative; padding: 0.6rem 0 0.6rem 2.1rem; display: grid; grid-template-columns: 11rem minmax(0, 1fr); gap: 0.15rem 1rem; align-items: center; }
#layers > li + li { border-top: 1px dashed var(--line); }
#layers > li::before { content: ''; position: absolute; left: 0.36rem; top: 1.2rem; width: 0.65rem; height: 0.65rem; border-radius: 50%; background: var(--card); border: 2px solid var(--idle); }
#layers > li.ok::before { border-color: var(--ok); }
#layers > li.warn::before { border-color: var(--warn); background: var(--warn); }
#layers > li.bad::before { border-color: var(--bad); background: var(--bad); }
#layers > li.end { grid-template-columns: 1fr; color: var(--soft); }
#layers h3 { font-size: 1rem; overflow-wrap: anywhere; }
#layers h3 small { font-weight: 400; color: var(--soft); }
#layers .name { display: flex; flex-wrap: wrap; gap: 0.1rem 0.5rem; align-items: center; }
#layers .note { grid-column: 1 / -1; color: var(--warn); font-size: 0.88rem; }
.figures { display: flex; flex-wrap: wrap; gap: 0.1rem 0.9rem; }
.figures > div { min-width: 3.7rem; }
.figures dt { color: var(--soft); font-size: 0.76rem; }
.figures dd { font-size: 1.12rem; font-weight: 600; overflow-wrap: anywhere; }
.figures dd.zero { color: var(--soft); font-weight: 400; }

.list { list-style: none; min-height: 1.5rem; }
.list li { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0.8rem; padding: 0.22rem 0; }
.list li > :first-child { overflow-wrap: anywhere; min-width: 0; }
.list .figure { white-space: nowrap; }
.none { color: var(--soft); }
meter { width: 5rem; height: 0.7rem; vertical-align: middle; margin-right: 0.4rem; }

.scroll { overflow: auto; height: 19rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th { text-align: left; color: var(--soft); font-weight: 600; font-size: 0.8rem; position: sticky; top: 0; background: var(--card); }
th, td { padding: 0.28rem 0.8rem 0.28rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.code { color: var(--bad); font-weight: 600; }
td.id { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 0.85em; }

button { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 0.3rem 0.8rem; cursor: pointer; }
.enter { max-width: 24rem; margin: 14vh auto 0; padding: 0 1rem; }
.enter form { display: grid; gap: 0.7rem; }
.enter input { font: inherit; color: var(--ink); background: var(--ground); padding: 0.55rem 0.7rem; border: 1px solid var(--soft); border-radius: 8px; width: 100%; }
.enter button { background: var(--accent); border-color: var(--accent); color: var(--card); font-weight: 600; padding: 0.55rem; }
.enter h1 { margin-bottom: 0.4rem; font-size: 1.25rem; }
.enter p { color: var(--soft); }
.enter .wrong { color: var(--bad); }

@media (max-width: 1000px) {
  .key { grid-template-columns: repeat(3, 1fr); }
  .key > div:nth-child(4) { border-left: 0; }
  .key > div:nth-child(n + 4) { border-top: 1px solid var(--line); }
  .halves { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 560px) {
  header, main { padding-left: 0.9rem; padding-right: 0.9rem; }
  .key { grid-template-columns: repeat(2, 1fr); }
  .key > div { border-left: 1px solid var(--line); border-top: 1px solid var(--line); }
  .key > div:nth-child(odd) { border-left: 0; }
  .key > div:nth-child(-n + 2) { border-top: 0; }
  #layers > li { grid-template-columns: 1fr; }
}
`
