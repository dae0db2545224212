"use strict";
// Which part of the page is looked at: the study, a trial (#trial-17), or two of them (#compare-17-4).

header();
const main = document.getElementById("main");
const sections = [pointsSection(), rankingSection(), accountSection(), spaceSection()];
navigation(sections, [resetButton()]);
const studyTitle = document.title;
let view = null;
let left = 0;

function asked() {
  const [, kind, ...numbers] = /^#(trial|compare)-(\d+)(?:-(\d+))?$/.exec(location.hash) || [];
  const named = numbers.filter(Boolean).map((number) => trials.get(Number(number)));
  if (!kind || named.some((trial) => !trial)) return null;
  if (kind === "trial") return trialView(named[0]);
  return named.length === 2 && named[0] !== named[1] ? versusView(...named) : null;
}

function route() {
  const next = asked();
  if (!view && next) left = scrollY;
  const back = view && !next;
  view?.element.remove();
  view = next;
  for (const element of [...sections, document.getElementById("header"), document.querySelector(".bar")]) element.hidden = Boolean(view);
  document.title = view ? `${view.title} · ${studyTitle}` : studyTitle;
  if (view) {
    main.append(view.element);
    view.mount();
    scrollTo({ top: 0, behavior: "instant" });
    view.element.querySelector("h2").focus({ preventScroll: true });
  } else if (back) {
    scrollTo({ top: left, behavior: "instant" });
    document.querySelector("[data-chart='points'] svg").focus({ preventScroll: true });
  }
}

addEventListener("hashchange", route);
addEventListener("keydown", (event) => { if (event.key === "Escape" && view && !event.defaultPrevented) location.hash = "frontier"; });
route();
document.documentElement.dataset.ready = "true";
