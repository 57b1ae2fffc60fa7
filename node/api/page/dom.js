// The document is only ever made of elements and text: what the API says can never become markup.

const SVG = "http://www.w3.org/2000/svg";

// Control and direction characters could make a name look like something else.
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Return what the API says as a text that is safe to read: bounded, without invisible characters. */
export function plain(value, length = 80) {
  if (typeof value !== "string" && typeof value !== "number") return "";
  const text = String(value).replace(INVISIBLE, "");
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** Return a finite number, or null for anything else. */
export function number(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** Return a list, whatever it is. */
export function list(value) {
  return Array.isArray(value) ? value : [];
}

/** Return an element with attributes and children; `class` and the like are plain attributes. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) put(node, name, value);
  node.append(...children);
  return node;
}

/** Return an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) put(node, name, value);
  node.append(...children);
  return node;
}

/** Set an attribute if it is another; null or false removes it. */
export function put(node, name, value) {
  if (value === null || value === false || value === undefined) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/** Set the text if it is another: screen readers and the layout are left in peace otherwise. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Make the children of a list fit the items, keeping the elements (and the focus) of those that stay. */
export function keep(parent, items, keyOf, create, update) {
  const known = (parent.kept ??= new Map());
  const gone = new Set(known.keys());
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    if (!known.has(key)) known.set(key, create(item));
    gone.delete(key);
    const view = known.get(key);
    update(view, item);
    const node = view.node ?? view;
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const key of gone) {
    const view = known.get(key);
    (view.node ?? view).remove();
    known.delete(key);
  }
}

/** Show a message in place of what is missing; an empty one hides it. */
export function explain(node, text) {
  say(node, text);
  node.hidden = !text;
}
