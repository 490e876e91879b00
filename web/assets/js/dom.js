// The only way in which anything gets onto the page. Text is always a text node and attributes are set one by one, so
// that what came out of a stream is never parsed as markup.

/** Makes an element. Attributes that are null, undefined or false are left out; `on…` functions become listeners. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  put(node, children);
  return node;
}

function put(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replaces what a node holds. */
export function replace(node, ...children) {
  node.replaceChildren();
  put(node, children);
}

/** Sets text only where it changed, so that a reader who has selected it keeps the selection. */
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/** The element with an id of index.html. */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`index.html has no #${id}`);
  return node;
}

/** A colour of the style sheet, as the canvas needs it. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
