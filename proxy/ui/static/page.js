// What the page does beyond plain HTML: the theme switch, words for a chart's bars, copying a secret,
// times in the reader's zone on hover, and keys. Everything works without it.
"use strict";

const root = document.documentElement;

// Theme

function dark() {
  const chosen = root.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

for (const button of document.querySelectorAll("[data-theme-switch]")) {
  const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.hidden = false;
  name();
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `farebox_theme=${root.dataset.theme}; Path=/ui; Max-Age=31536000; SameSite=Strict${secure}`;
    name();
  });
}

// Charts: a bar's title becomes a box that follows the pointer.

const box = document.createElement("div");
box.className = "tip";
box.hidden = true;
document.body.append(box);

function showTip(text, x, y) {
  box.replaceChildren(...text.split("\n").map((line, n) => {
    const row = document.createElement(n ? "p" : "b");
    const at = line.lastIndexOf(": ");
    if (at < 0) { row.textContent = line; return row; }
    const name = document.createElement("span");
    const value = document.createElement("span");
    name.textContent = line.slice(0, at);
    value.textContent = line.slice(at + 2);
    row.append(name, value);
    return row;
  }));
  box.hidden = false;
  const room = innerWidth - box.offsetWidth - 8;
  box.style.left = `${Math.max(8, Math.min(x + 14, room))}px`;
  box.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - box.offsetHeight - 8))}px`;
}

for (const column of document.querySelectorAll(".plot .col")) {
  const title = column.querySelector("title");
  const text = title.textContent;
  title.remove();
  column.addEventListener("pointermove", (event) => showTip(text, event.clientX, event.clientY));
  column.addEventListener("pointerleave", () => { box.hidden = true; });
}

// Copying

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

// Forms: what is empty stays out of the address.

for (const form of document.querySelectorAll('form[method="get"]')) {
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
  });
  addEventListener("pageshow", () => {
    for (const field of form.elements) if (field.name) field.disabled = false;
  });
}

// Keys: / to the first filter, g and a letter to a page.

const pages = { o: "", b: "/budgets", c: "/calls", m: "/models", k: "/keys" };
let going = false;
document.addEventListener("keydown", (event) => {
  const writing = event.target.closest("input, select, textarea");
  if (event.key === "Escape") box.hidden = true;
  if (writing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (going && event.key in pages && document.querySelector(".side")) {
    location.assign(`/ui${pages[event.key]}`);
  }
  going = event.key === "g";
  if (event.key === "/") {
    const first = document.querySelector(".filters input");
    if (first) { event.preventDefault(); first.focus(); }
  }
});
