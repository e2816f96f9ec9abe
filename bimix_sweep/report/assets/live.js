// The page of a running sweep: asks its server for new content and changes only what differs.
(() => {
  const every = 1000 * Number(document.body.dataset.live);
  let tag = "";
  let heard = Date.now();
  let trouble = "";
  let over = document.body.dataset.over === "yes";

  const ago = () => {
    const place = document.getElementById("updated");
    if (!place) return;
    const seconds = Math.round((Date.now() - heard) / 1000);
    const when = seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
    place.textContent = `updated ${when} ago${trouble}`;
  };

  // Puts the new element in the place of the old one; figures, open folds and choices stay.
  const swap = (old, next) => {
    const summaries = (one) => [...one.querySelectorAll("details")];
    const text = (fold) => fold.querySelector("summary").textContent;
    const open = new Set(summaries(old).filter((fold) => fold.open).map(text));
    for (const fold of summaries(next)) if (open.has(text(fold))) fold.open = true;
    for (const choice of next.querySelectorAll("[data-keep]")) {
      const before = document.getElementById(choice.id);
      if (before) choice.value = before.value;
    }
    for (const plot of next.querySelectorAll("div.plot")) {
      const before = document.getElementById(plot.id);
      if (!before) continue;
      before.style.minHeight = plot.style.minHeight;
      before.setAttribute("aria-label", plot.getAttribute("aria-label"));
      plot.replaceWith(before); // keeps zoom and pan: Plotly.react goes on with it
    }
    for (const packed of next.querySelectorAll("script[data-into]")) {
      const before = document.getElementById(packed.dataset.into);
      if (before) next.querySelector(`#${packed.dataset.into}`).innerHTML = before.innerHTML;
    }
    old.replaceWith(next);
  };

  const source = new Map(); // id -> HTML as the server sent it
  const take = async (html) => {
    const parsed = new DOMParser().parseFromString(html, "text/html");
    const main = document.querySelector("main");
    const [x, y] = [scrollX, scrollY];
    const news = [parsed.getElementById("bar"), ...parsed.querySelectorAll("main > section")];
    let after = null;
    for (const next of news) {
      const old = document.getElementById(next.id);
      const same = source.get(next.id) === next.outerHTML;
      source.set(next.id, next.outerHTML);
      const trying = next.id === "try" && old && old.dataset.names === next.dataset.names
        && next.querySelector("#law-data");
      if (trying) {
        document.getElementById("law-data").textContent =
          next.querySelector("#law-data").textContent;
      } else if (old && !same) {
        swap(old, document.importNode(next, true));
      } else if (!old) {
        const fresh = document.importNode(next, true);
        if (after) after.after(fresh); else main.prepend(fresh);
      }
      if (next.id !== "bar") after = document.getElementById(next.id);
    }
    const ids = new Set(news.map((one) => one.id));
    for (const old of main.querySelectorAll(":scope > section")) if (!ids.has(old.id)) old.remove();
    scrollTo(x, y);
    await draw();
    await showForm();
    await tryout.load();
  };

  const ask = async () => {
    try {
      const answer = await fetch("/content", { headers: tag ? { "If-None-Match": tag } : {} });
      if (answer.status === 200) {
        tag = answer.headers.get("ETag");
        over = answer.headers.get("X-Sweep-Over") === "yes";
        await take(await answer.text());
        document.body.dataset.updates = Number(document.body.dataset.updates || 0) + 1;
      } else if (answer.status !== 304) {
        throw new Error(await answer.text());
      }
      heard = Date.now();
      trouble = "";
    } catch (error) {
      trouble = `; no new data (${error.message.trim()})`;
    }
    ago();
    if (!over) setTimeout(ask, every);
  };

  setInterval(ago, 1000);
  if (!over) setTimeout(ask, every);
})();
