// The dashboard: asks the API every other second and shows what it says. Everything it shows is put in as text,
// never as markup: names, versions and reasons come from other people.
"use strict";

const EVERY = 2000; // milliseconds between two looks
const SLOWEST = 30000; // and at most, while nobody answers
const PATIENCE = 10000; // for one answer
const MOST_PAGES = 10; // of 200 services
const TOKEN = "watchdog-token";
const WORST_FIRST = ["rollback", "critical", "warning", "unknown", "ok"];

const state = { answeredAt: null, failedAt: null, failures: 0, timer: 0, turn: 0, linked: "" };
const at = (id) => document.getElementById(id);

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

function make(tag, words, text) {
  const node = document.createElement(tag);
  if (words) node.className = words;
  if (text !== undefined && text !== null) node.textContent = String(text);
  return node;
}

function append(parent, ...children) {
  parent.append(...children.filter(Boolean));
  return parent;
}

function level(word) {
  const known = WORST_FIRST.includes(word) ? word : "unknown";
  return make("span", "level " + known, word);
}

function when(moment) {
  if (!moment) return "";
  const then = new Date(moment);
  const seconds = Math.max(0, Math.round((Date.now() - then.getTime()) / 1000));
  const steps = [[60, "s"], [60, "min"], [24, "h"], [Infinity, "d"]];
  let count = seconds;
  for (const [size, unit] of steps) {
    if (count < size) return `${count} ${unit} ago`;
    count = Math.floor(count / size);
  }
  return then.toISOString();
}

function clock(moment) {
  return moment.toISOString().slice(0, 19).replace("T", " ") + " UTC";
}

async function ask(path) {
  const headers = { Accept: "application/json" };
  const token = sessionStorage.getItem(TOKEN);
  if (token && !/^[\x21-\x7e]+$/.test(token)) throw new Refused(401, "no token has such characters");
  if (token) headers.Authorization = "Bearer " + token;
  const answer = await fetch(path, {
    headers, cache: "no-store", credentials: "same-origin", redirect: "error", signal: AbortSignal.timeout(PATIENCE),
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, body.detail || answer.statusText || "no reason given");
  return body;
}

async function askAll(path) {
  const items = [];
  let cursor = "";
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const body = await ask(path + (cursor ? "&cursor=" + encodeURIComponent(cursor) : ""));
    items.push(...body.items);
    cursor = body.next;
    if (!cursor) break;
  }
  return { items, more: Boolean(cursor) };
}

async function look() {
  const [status, services, incidents, rollbacks, silences] = await Promise.all([
    ask("api/v1/status"),
    askAll("api/v1/services?limit=200"),
    askAll("api/v1/incidents?open=true&limit=200"),
    ask("api/v1/rollbacks?limit=10"),
    ask("api/v1/silences?active=true&limit=50"),
  ]);
  return { status, services, incidents, rollbacks: rollbacks.items, silences: silences.items };
}

function fill(id, nodes, nothing) {
  const list = at(id);
  const made = nodes.length || !nothing ? nodes : [make("li", "none", nothing)];
  // What has not changed stays, so that a screen reader hears only news and a selection survives.
  made.forEach((node, place) => {
    const there = list.children[place];
    if (!there) list.append(node);
    else if (!there.isEqualNode(node)) there.replaceWith(node);
  });
  while (list.children.length > made.length) list.lastElementChild.remove();
}

function card(edge, ...children) {
  return append(make("li", "edge-" + edge), ...children);
}

function variants(traffic, deployments) {
  const list = make("ul", "variants");
  for (const [name, one] of Object.entries(traffic.variants)) {
    const ready = one.total === null ? "" : `, ${one.ready ?? "?"} of ${one.total} ready`;
    const note = one.note ? ` (${one.note})` : "";
    const version = one.version ?? deployments.find((made) => made && made.variant === name)?.version;
    append(list, append(make("li", one.live ? "live" : ""),
      make("span", "share", one.weight),
      make("span", "", `${name}: ${version ?? "version not known"}${ready}${note}`)));
  }
  return list;
}

function progress(rollback) {
  const why = rollback.history.length ? rollback.history[rollback.history.length - 1].why : rollback.reason;
  const vetoes = rollback.vetoes.map((veto) => `${veto.guard}: ${veto.detail}`).join("; ");
  return `${rollback.from.version} on ${rollback.from.variant} → ${rollback.to.version} on ${rollback.to.variant}: `
    + `${words(rollback.state)}${why ? ", " + why : ""}${vetoes ? " [" + vetoes + "]" : ""}`;
}

function words(name) {
  return String(name).replaceAll("_", " ");
}

function service(one) {
  const traffic = one.traffic;
  const moving = one.rollback && !one.rollback.over ? one.rollback : null;
  const live = one.deployment;
  const ready = one.rollback_ready
    ? `A rollback would work${one.stable ? ": to " + one.stable.version + " on " + one.stable.variant : ""}.`
    : "A rollback would not work: "
      + (one.not_ready.map((veto) => `${veto.guard}: ${veto.detail}`).join("; ") || "not known yet") + ".";
  const labels = Object.entries(one.labels).map(([name, value]) => `${name}=${value}`).join(", ");
  return card(one.level,
    append(make("div", "head"), make("h3", "", one.name), level(one.level)),
    make("p", "dim", [one.environment, "mode " + one.mode, labels].filter(Boolean).join(" · ")),
    one.paused && make("p", "tag", `Paused by ${one.paused.by}${one.paused.reason ? ": " + one.paused.reason : ""}`),
    one.traffic?.paused && make("p", "tag", `Paused by a mark on the target: ${one.traffic.paused}`),
    one.traffic?.suspended && make("p", "tag", `Suspended by us: ${one.traffic.suspended}`),
    live && make("p", "", `Deployment ${live.version} on ${live.variant}: ${words(live.state)}`),
    traffic ? variants(traffic, [live, one.stable]) : make("p", "dim", "Traffic is not known."),
    one.traffic_error && make("p", "tag", "The switch cannot be read: " + one.traffic_error),
    moving && make("p", "level rollback", "Rollback in progress: " + progress(moving)),
    make("p", one.rollback_ready ? "dim" : "", ready));
}

// The incident that a message's link is about: `#incident=ID`.
function linked() {
  return new URLSearchParams(location.hash.slice(1)).get("incident");
}

function incident(one) {
  const taken = one.acknowledged_by ? `acknowledged by ${one.acknowledged_by}` : "nobody has acknowledged it";
  const silenced = one.silenced_by.length ? "silenced" : "";
  const node = card(one.level,
    append(make("div", "head"), make("h3", "", one.summary || `${one.kind} of ${one.subject}`), level(one.level)),
    make("p", "dim", [one.environment, one.severity, `since ${clock(new Date(one.opened_at))} (${when(one.opened_at)})`, taken, silenced, one.id]
      .filter(Boolean).join(" · ")));
  if (one.id === linked()) node.classList.add("linked");
  return node;
}

// Once for each link: whoever scrolls on is not pulled back.
function showLinked({ incidents }) {
  const wanted = linked();
  if (!wanted || wanted === state.linked) return;
  state.linked = wanted;
  if (incidents.items.some((one) => one.id === wanted)) document.querySelector(".linked").scrollIntoView({ block: "center" });
}

function rollback(one) {
  return card(one.over ? "" : "rollback",
    append(make("div", "head"), make("h3", "", one.service),
      make("span", one.over ? "tag" : "level rollback", words(one.state))),
    make("p", "", progress(one)),
    make("p", "dim", [one.automatic ? "automatic" : "asked for by " + one.requested_by, one.reason,
      when(one.decided_at), one.id].filter(Boolean).join(" · ")));
}

function silence(one) {
  const about = Object.entries(one.matchers).map(([name, value]) => `${name}=${value}`).join(", ");
  return card("",
    append(make("div", "head"), make("h3", "", about), make("span", "tag", `held back: ${one.held_back}`)),
    make("p", "dim", `${one.reason} · by ${one.by} · until ${clock(new Date(one.ends_at))}`));
}

function notices({ status, services, incidents }) {
  const found = [];
  if (status.paused_by_file) found.push("Paused: the pause file stops every automatic rollback.");
  if (status.breaker) found.push("The limits stop automatic rollbacks: " + status.breaker);
  if (status.cut_off_at) found.push("Nothing answers the watchdog: no target is called dead, and nothing is rolled back on it.");
  if (status.store_error) found.push("The store fails: " + status.store_error);
  if (status.config_fault) found.push("The configuration on disk cannot be used: " + status.config_fault);
  if (!status.leader) found.push("This daemon is not the leader; another one acts.");
  for (const source of status.sources) {
    if (source.up === false) {
      const since = source.failing_since ? ` since ${clock(new Date(source.failing_since))}` : "";
      found.push(`Source ${source.name} is down${since}${source.error ? ": " + source.error : ""}`);
    }
  }
  const wanted = linked();
  if (wanted && !incidents.items.some((one) => one.id === wanted)) {
    found.push(`Incident ${wanted} is not open any more, or not shown here: watchdog incidents show ${wanted}`);
  }
  if (services.more) found.push(`Only the first ${services.items.length} services are shown.`);
  if (incidents.more) found.push(`Only the newest ${incidents.items.length} incidents are shown.`);
  return found;
}

function show(seen) {
  const rank = (one) => (WORST_FIRST.indexOf(one.level) + WORST_FIRST.length + 1) % (WORST_FIRST.length + 1);
  const sorted = [...seen.services.items].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
  fill("notices", notices(seen).map((text) => make("li", "", text)));
  fill("incidents", seen.incidents.items.map(incident), "Nothing is wrong that the watchdog knows of.");
  fill("services", sorted.map(service), "No service is configured.");
  fill("rollbacks", seen.rollbacks.map(rollback), "There was none.");
  fill("silences", seen.silences.map(silence), "None.");
  const wrong = sorted.filter((one) => one.level !== "ok").length;
  const open = seen.incidents.items.length;
  const summary = `${sorted.length} services, ${wrong ? wrong + " not ok" : "all ok"}; `
    + `${open} open incident${open === 1 ? "" : "s"}; version ${seen.status.version}`;
  if (at("summary").textContent !== summary) at("summary").textContent = summary;
  document.title = (open ? `(${open}) ` : "") + "Rollback Watchdog";
  at("content").hidden = false;
  at("content").classList.remove("stale");
  showLinked(seen);
  at("trouble").hidden = true;
  at("trouble").textContent = "";
  at("ask").hidden = true;
}

function trouble(error) {
  state.failures += 1;
  state.failedAt = state.failedAt ?? new Date();
  const refused = error instanceof Refused;
  const wantsToken = refused && error.status === 401;
  at("forget").hidden = !sessionStorage.getItem(TOKEN);
  at("content").classList.add("stale");
  let text = "";
  if (wantsToken) {
    if (at("ask").hidden) {
      at("ask").hidden = false;
      at("token").focus();
    }
    at("content").hidden = true; // what was read with a token is not left for somebody without one
    at("summary").textContent = "Not allowed to look.";
    text = sessionStorage.getItem(TOKEN) ? "The daemon does not know this token." : "";
  } else if (refused) {
    text = `The daemon answers ${error.status} since ${clock(state.failedAt)}: ${error.message}`;
  } else {
    text = `The daemon is unreachable since ${clock(state.failedAt)}.`;
  }
  if (!wantsToken && state.answeredAt) text += ` What is shown is of ${clock(state.answeredAt)}.`;
  if (!wantsToken && !state.answeredAt) at("summary").textContent = "Nothing is known yet.";
  if (at("trouble").textContent !== text) at("trouble").textContent = text;
  at("trouble").hidden = !text;
}

function again(after) {
  clearTimeout(state.timer);
  state.timer = setTimeout(refresh, after);
}

async function refresh() {
  const turn = state.turn += 1;
  const began = performance.now();
  let wait = EVERY;
  try {
    const seen = await look();
    if (turn !== state.turn) return;
    show(seen);
    Object.assign(state, { answeredAt: new Date(), failedAt: null, failures: 0 });
    at("forget").hidden = !sessionStorage.getItem(TOKEN);
    wait = Math.max(EVERY, 4 * (performance.now() - began)); // a slow daemon is not made slower
  } catch (error) {
    if (turn !== state.turn) return;
    trouble(error);
    wait = Math.min(SLOWEST, EVERY * 2 ** Math.min(state.failures - 1, 10));
  }
  again(document.hidden ? SLOWEST : wait);
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, at("token").value.trim());
  at("token").value = "";
  state.failedAt = null;
  refresh();
});
at("forget").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  location.reload();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
refresh();
