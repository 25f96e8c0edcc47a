// The page about a running program. All text from the program is set as text, never as HTML.
"use strict";

const get = (id) => document.getElementById(id);

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const svg = (name, attributes = {}, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Three digits and a unit: `1.25 ms`. */
const time = (seconds) => {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds >= 86400) return `${(seconds / 86400).toFixed(1)} d`;
  if (seconds >= 3600) return `${(seconds / 3600).toFixed(1)} h`;
  if (seconds >= 120) return `${(seconds / 60).toFixed(1)} min`;
  const [factor, unit] = seconds >= 1 ? [1, "s"] : seconds >= 1e-3 ? [1e3, "ms"] : [1e6, "µs"];
  const value = seconds * factor;
  return `${value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2)} ${unit}`;
};

/** The last two parts of a path, with line and column. */
const shortPlace = (place) => place.split(/[\\/]/).slice(-2).join("/");

// ---- What is asked for ----

const columns = [
  { key: "name", title: "Task", width: "19%" },
  { key: "activity", title: "Waits for", width: "" },
  { key: "idle", title: "Idle", width: "76px", number: true },
  { key: "age", title: "Age", width: "76px", number: true },
  { key: "steps", title: "Steps", width: "78px", number: true },
  { key: "total", title: "Total", width: "82px", number: true },
  { key: "longest", title: "Longest", width: "88px", number: true },
  { key: "id", title: "Spawned at", width: "17%" },
];

const asked = { loop: 0, sort: "id", descending: false, filter: "", limit: 100, own: false };
let source = null;
let paused = false;
let previous = null;
let history = {};

const connect = () => {
  if (source) source.close();
  const query = new URLSearchParams({
    loop: asked.loop,
    sort: asked.sort,
    descending: asked.descending ? 1 : 0,
    filter: asked.filter,
    limit: asked.limit,
    own: asked.own ? 1 : 0,
  });
  source = new EventSource(`events?${query}`);
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.onerror = () => {
    state("lost", source.readyState === EventSource.CLOSED ? "refused; too many pages may be open" : "no connection");
    if (source.readyState === EventSource.CLOSED && !paused) setTimeout(connect, 3000);
  };
};

const state = (kind, text) => {
  get("state").className = kind;
  get("state").textContent = text;
};

const showHead = () => {
  const cells = columns.map((column) => {
    const sorted = asked.sort === column.key;
    const title = column.title + (sorted ? (asked.descending ? " ↓" : " ↑") : "");
    const button = element("button", { type: "button", textContent: title });
    button.onclick = () => {
      // Times and counts are asked for because of the largest ones.
      asked.descending = sorted ? !asked.descending : Boolean(column.number);
      asked.sort = column.key;
      showHead();
      restart();
    };
    const cell = element("th", { className: (column.number ? "number " : "") + (sorted ? "sorted" : "") }, button);
    cell.style.width = column.width;
    return cell;
  });
  get("head").replaceChildren(...cells);
};

// ---- What is shown ----

const show = (view) => {
  showLoops(view);
  get("error").hidden = !view.error;
  if (view.error) {
    get("error").textContent = view.error;
    state("lost", "no answer");
    return;
  }
  state("live", "live");
  showTiles(view);
  showGraph(view.graph);
  showHistogram(view.metrics.step_times);
  showSlow(view.slow_steps);
  showTasks(view);
  previous = view;
};

const showLoops = (view) => {
  const select = get("loop");
  select.hidden = view.loops.length < 2;
  if (select.options.length === view.loops.length) return;
  select.replaceChildren(...view.loops.map((name, index) => new Option(name, index)));
  select.value = asked.loop;
};

const showTiles = (view) => {
  const now = view.metrics;
  const passed = previous ? view.now - previous.now : 0;
  const rate = (key) => (passed > 0 ? (now[key] - previous.metrics[key]) / passed : null);
  const asleep = rate("asleep");
  const number = (value) => (value === null ? "–" : whole.format(value));
  const percent = (value) => (value === null ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} %`);
  const tiles = [
    ["Busy", asleep === null ? null : Math.min(100, Math.max(0, 100 * (1 - asleep))), percent, 100],
    ["Turns a second", rate("turns"), number],
    ["Steps a second", rate("steps"), number],
    ["Tasks", view.counts.tasks - view.counts.own, number],
    ["Ready to run", now.ready, number],
    ["Timers", now.timers, number],
    ["Sources", now.sources, number],
    ["Blocking jobs", now.blocking, number],
    ["Remote calls", now.remote, number],
  ];
  get("tiles").replaceChildren(
    ...tiles.map(([title, value, format, top]) => {
      const values = (history[title] ??= []);
      if (value !== null) values.push(value);
      if (values.length > 60) values.shift();
      return element(
        "div",
        { className: "tile" },
        element("span", { textContent: title }),
        element("b", { textContent: format(value) }),
        sparkline(values, top),
      );
    }),
  );
};

/** The last minute, the newest value at the right. */
const sparkline = (values, top) => {
  const most = Math.max(top ?? 0, ...values) || 1;
  const point = (value, index) => `${60 - values.length + index + 1},${(20 - (18 * value) / most).toFixed(1)}`;
  const picture = svg("svg", { viewBox: "0 0 61 21", preserveAspectRatio: "none", "aria-hidden": "true" });
  picture.append(svg("polyline", { points: values.map(point).join(" ") }));
  return picture;
};

const showHistogram = (counts) => {
  const first = counts.findIndex((count) => count > 0);
  const last = counts.findLastIndex((count) => count > 0);
  if (first < 0) return get("histogram").replaceChildren(element("span", { className: "none", textContent: "none yet" }));
  // The first class holds all that took no tick of the coarse clock. The scale is logarithmic, so
  // that a single slow step is seen beside millions of fast ones.
  const most = Math.log1p(Math.max(...counts));
  const rows = [];
  counts.forEach((count, index) => {
    if (count === 0) return;
    const below = time((2 << index) / 1e6).replace(/\.0+ /, " ");
    const picture = svg("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" });
    picture.append(svg("rect", { width: (100 * Math.log1p(count)) / most, height: 12 }));
    const label = index === counts.length - 1 ? "longer" : `below ${below}`;
    rows.push(element("span", { className: "label", textContent: label }));
    rows.push(element("span", { className: (2 << index) / 1e6 > 0.1 ? "bad" : "" }, picture));
    rows.push(element("span", { className: "count", textContent: whole.format(count) }));
  });
  get("histogram").replaceChildren(...rows);
};

const label = (task) => task.name ?? `task ${task.id}`;

const showSlow = (steps) => {
  const rows = steps.map((step) => {
    const who = step.task === null ? `a ${step.kind}` : label({ id: step.task, name: step.name });
    const place = element("span", { className: "place", textContent: step.place ? shortPlace(step.place) : "" });
    const ran = step.ran === null ? "" : `, ran ${time(step.ran)}`;
    return element(
      "div",
      {},
      element("b", { textContent: time(step.took) }),
      element("span", { title: step.place ?? "" }, `${who} `, place),
      element("small", { textContent: `${time(step.ago)} ago${ran}` }),
    );
  });
  const none = element("span", { className: "none", textContent: "none: no step exceeded the limit" });
  get("slow").replaceChildren(...(rows.length ? rows : [none]));
};

const showTasks = (view) => {
  const { counts } = view;
  const all = asked.own ? counts.tasks : counts.tasks - counts.own;
  const parts = [`${whole.format(counts.shown)} of ${whole.format(all)}`];
  if (asked.filter) parts.push(`${whole.format(counts.matching)} match`);
  get("count").textContent = parts.join(", ");
  const kinds = [
    ...["running", "ready", "held"].filter((key) => counts[key]).map((key) => [key, counts[key]]),
    ...Object.entries(counts.waits).sort((one, other) => other[1] - one[1]),
  ];
  get("kinds").replaceChildren(
    ...kinds.map(([kind, count]) =>
      element("span", {}, element("b", { textContent: whole.format(count) }), ` ${kind}`),
    ),
  );
  const inCycle = new Set(view.graph.cycles.flat());
  get("rows").replaceChildren(...view.tasks.map((task) => row(task, inCycle.has(task.id))));
};

const row = (task, bad) => {
  const name = element("td", {}, element("b", { textContent: label(task) }));
  if (task.name !== null) name.append(element("small", { textContent: `  ${task.id}` }));
  const waits = element("td");
  if (task.activity !== "waiting") {
    waits.append(element("span", { className: "chip on", textContent: task.activity }));
  } else if (task.waits.length === 0) {
    waits.append(element("span", { className: "chip", textContent: "foreign" }), "a future that picot does not know");
  }
  for (const wait of task.activity === "waiting" ? task.waits : []) {
    // The place is last in the text, and shorter on its own.
    const at = wait.place ? `, at ${wait.place}` : "";
    const text = wait.text.endsWith(at) ? wait.text.slice(0, wait.text.length - at.length) : wait.text;
    const line = element("div", { title: wait.text }, element("span", { className: "chip", textContent: wait.kind }), text);
    if (wait.place) line.append(" ", element("span", { className: "place", textContent: shortPlace(wait.place) }));
    waits.append(line);
  }
  const steps = task.steps ?? {};
  const cells = [time(steps.idle), time(steps.age), steps.count === undefined ? "–" : whole.format(steps.count)];
  cells.push(time(steps.total), time(steps.longest));
  const place = element("td", { className: "place", title: task.place, textContent: shortPlace(task.place) });
  return element(
    "tr",
    { className: (bad ? "bad " : "") + (task.own ? "own" : "") },
    name,
    waits,
    ...cells.map((text) => element("td", { className: "number", textContent: text })),
    place,
  );
};

// ---- The picture of the waits ----

const BOX = { width: 150, height: 32 };
const STEP = { x: 236, y: 48 };

const showGraph = (graph) => {
  get("graph").hidden = graph.edges.length === 0;
  if (graph.edges.length === 0) return;
  const cycles = graph.cycles.length;
  const title = cycles === 1 ? "a cycle: these tasks wait for each other" : `${cycles} cycles of tasks that wait for each other`;
  get("cycle").textContent = cycles ? title : "";
  const bad = new Set(graph.cycles.flat());
  const nodes = new Map(graph.tasks.map((task) => [task.id, { ...task, next: [], links: [], entered: 0 }]));
  for (const edge of graph.edges) {
    const [from, to] = [nodes.get(edge.from), nodes.get(edge.to)];
    from.next.push(to);
    from.links.push(to);
    to.links.push(from);
    to.entered += 1;
  }
  const width = Math.max(get("picture").clientWidth || 900, BOX.width + 20);
  const [right, bottom] = arrange(components([...nodes.values()], bad), width);
  const picture = svg("svg", { width: right, height: bottom, viewBox: `0 0 ${right} ${bottom}`, role: "img" });
  picture.append(marker("arrow", ""), marker("arrow-bad", "bad"));
  for (const edge of graph.edges) picture.append(...drawEdge(edge, nodes.get(edge.from), nodes.get(edge.to)));
  for (const node of nodes.values()) picture.append(drawNode(node, bad.has(node.id)));
  const rest = graph.left_out ? [element("small", { textContent: `${whole.format(graph.left_out)} more waits are not drawn` })] : [];
  get("picture").replaceChildren(picture, ...rest);
};

/** The nodes that hang together, those with a cycle first. */
const components = (nodes, bad) => {
  const seen = new Set();
  const found = [];
  for (const node of nodes) {
    if (seen.has(node)) continue;
    const members = [];
    const open = [node];
    seen.add(node);
    while (open.length) {
      const at = open.pop();
      members.push(at);
      for (const other of at.links) {
        if (!seen.has(other)) {
          seen.add(other);
          open.push(other);
        }
      }
    }
    found.push(members.sort((one, other) => one.id - other.id));
  }
  const rank = (members) => (members.some((node) => bad.has(node.id)) ? 0 : 1);
  return found.sort((one, other) => rank(one) - rank(other));
};

/** Places each component in columns by distance from its roots, and the components in lines. */
const arrange = (all, width) => {
  let [x, y, line, right] = [2, 2, 0, 0];
  for (const members of all) {
    const roots = members.filter((node) => node.entered === 0);
    let column = roots.length ? roots : members.slice(0, 1);
    const rows = [];
    for (let depth = 0; column.length; depth += 1) {
      column.forEach((node) => (node.depth = depth));
      rows.push(column);
      const next = new Set(column.flatMap((node) => node.next).filter((node) => node.depth === undefined));
      column = [...next];
    }
    // What no root reaches: a cycle beside them.
    const left = members.filter((node) => node.depth === undefined);
    left.forEach((node) => (node.depth = 0));
    if (left.length) rows[0].push(...left);
    const tall = Math.max(...rows.map((row) => row.length));
    const wide = (rows.length - 1) * STEP.x + BOX.width + 4;
    // Below it, room for the edges that lead back.
    const high = tall * STEP.y + (members.some((node) => node.next.some((to) => to.depth <= node.depth)) ? 34 : 0);
    if (x > 2 && x + wide > width) [x, y, line] = [2, y + line, 0];
    rows.forEach((row, depth) =>
      row.forEach((node, index) => {
        node.x = x + depth * STEP.x;
        node.y = y + (index + (tall - row.length) / 2) * STEP.y;
      }),
    );
    right = Math.max(right, x + wide);
    x += wide + 56;
    line = Math.max(line, high);
  }
  return [right, y + line];
};

const marker = (id, kind) =>
  svg(
    "marker",
    { id, class: kind, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" },
    svg("path", { d: "M0 1 L10 5 L0 9 z" }),
  );

const drawEdge = (edge, from, to) => {
  const kind = edge.in_cycle ? "bad" : "";
  const half = BOX.height / 2;
  let [path, x, y] = ["", 0, 0];
  if (to.depth > from.depth) {
    const [x1, y1, x2, y2] = [from.x + BOX.width, from.y + half, to.x - 1, to.y + half];
    const bend = (x2 - x1) / 2;
    path = `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
    [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  } else {
    const [x1, y1] = [from.x + BOX.width / 2 + (from === to ? 30 : 0), from.y + BOX.height];
    const [x2, y2] = [to.x + BOX.width / 2 - (from === to ? 30 : 0), to.y + BOX.height + 1];
    const low = Math.max(y1, y2) + 34;
    path = `M${x1} ${y1} C${x1} ${low} ${x2} ${low} ${x2} ${y2}`;
    [x, y] = [(x1 + x2) / 2, 0.25 * ((y1 + y2) / 2) + 0.75 * low];
  }
  const line = svg("path", { d: path, class: kind, "marker-end": `url(#arrow${kind ? "-bad" : ""})` });
  const text = svg("text", { x, y, class: `kind ${kind}` });
  text.textContent = edge.kind;
  return [line, text];
};

const drawNode = (node, bad) => {
  const name = label(node);
  const text = svg("text", { x: node.x + BOX.width / 2, y: node.y + BOX.height / 2 });
  text.textContent = name.length > 20 ? `${name.slice(0, 19)}…` : name;
  const title = svg("title");
  title.textContent = `${name} (task ${node.id})`;
  return svg("g", { class: bad ? "bad" : "" }, svg("rect", { x: node.x, y: node.y, ...BOX }), text, title);
};

// ---- The controls ----

const restart = () => {
  if (!paused) connect();
};

get("loop").onchange = (event) => {
  asked.loop = Number(event.target.value);
  previous = null;
  history = {};
  restart();
};
get("limit").onchange = (event) => {
  asked.limit = Number(event.target.value);
  restart();
};
get("own").onchange = (event) => {
  asked.own = event.target.checked;
  restart();
};
let typing = 0;
get("filter").oninput = (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    asked.filter = event.target.value;
    restart();
  }, 200);
};
get("pause").onclick = () => {
  paused = !paused;
  get("pause").textContent = paused ? "Go on" : "Pause";
  if (paused) {
    source.close();
    state("", "paused");
  } else {
    connect();
  }
};
// A page that is not seen costs the program nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) source.close();
  else restart();
});

showHead();
connect();
