// "Try your own": evaluates the law in the browser (law/optimum/law_at_fidelity.py has the formula).
const tryout = (() => {
  let problem = null;
  let proportions = [];
  let locked = new Set();

  // Effective proportions of a run that repeats domains; see law/model/repetition.py.
  const effective = (r) => r.map((value, j) => {
    const unique = problem.law.unique && problem.law.unique[j];
    const passes = unique === null || unique === undefined ? 0 : value / unique;
    if (passes <= 1) return value;
    const star = problem.law.r_star;
    return value * (1 - star * Math.expm1(-(passes - 1) / star)) / passes;
  });

  // Mean of the discrepancy GP in log loss, for each target.
  const discrepancy = (r) => {
    const out = problem.law.targets.map(() => 0);
    const gp = problem.law.gp;
    if (!gp) return out;
    const root = r.map(Math.sqrt);
    gp.roots ??= gp.mixtures.map((row) => row.map(Math.sqrt));
    gp.roots.forEach((row, m) => {
      let squared = 0;
      for (let j = 0; j < root.length; j++) squared += (root[j] - row[j]) ** 2;
      const near = Math.exp(-squared / (2 * gp.lengthscale ** 2));
      for (let k = 0; k < out.length; k++) out[k] += near * gp.weights[m][k];
    });
    return out;
  };

  // Losses of a mixture, one for each target; `r` is in the order of the law's domains.
  const losses = (r) => {
    const logs = effective(r).map((x) => (x > 0 ? Math.log(x) : problem.law.log_zero));
    const error = discrepancy(r);
    return problem.law.targets.map((target, k) => {
      let v = target.floor;
      logs.forEach((log, j) => { v += target.transfer[j] * Math.exp(target.curvature * log); });
      const lv = Math.max(Math.log(v) - target.pivot, target.least);
      const falling = (1 - target.flat) * Math.exp(Math.min(-target.slope * lv, 50));
      return Math.exp(target.base + Math.log(target.flat + falling) + error[k]);
    });
  };

  const value = (target, loss) => {
    if (!target.range) return loss;
    const [low, high] = target.range;
    const far = Math.min(1, Math.max(0, loss - problem.goal_floor)) * (high - low);
    return target.goal === "max" ? high - far : low + far;
  };

  const ofLaw = (shown) => {
    const r = problem.law.domains.map(() => 0);
    problem.columns.forEach((column, n) => { r[column] = shown[n]; });
    return r;
  };

  const predict = (shown) => {
    const found = losses(ofLaw(shown));
    return problem.law.targets.map((target, k) => value(target, found[k]));
  };

  const objective = (shown) => {
    const weighted = losses(ofLaw(shown)).map((loss, k) => loss * problem.weights[k]);
    return problem.worst ? Math.max(...weighted) : weighted.reduce((a, b) => a + b, 0);
  };

  // Pull to the prior, in units of the objective.
  const pull = (shown) => problem.kl === 0 ? 0 : problem.kl * shown.reduce(
    (sum, r, n) => sum + (r > 0 && problem.prior[n] > 0 ? r * Math.log(r / problem.prior[n]) : 0), 0);

  const broken = (shown) => problem.domains.filter((name, n) =>
    shown[n] < problem.lower[n] - 5e-4 || shown[n] > problem.upper[n] + 5e-4);

  const inside = (shown) => {
    const least = objective(problem.optimum) + pull(problem.optimum);
    const level = least + problem.within * Math.abs(least);
    return objective(shown) + pull(shown) <= level + 1e-9 && broken(shown).length === 0;
  };

  // Sets one proportion; the others that are not locked keep their ratios and fill the rest.
  const move = (index, wanted) => {
    const others = proportions.map((_, n) => n).filter((n) => n !== index && !locked.has(n));
    const held = proportions.reduce(
      (sum, r, n) => sum + (n !== index && locked.has(n) ? r : 0), 0);
    if (!others.length) return;
    const free = 1 - held;
    const next = Math.min(Math.max(wanted, 0), free);
    const before = others.reduce((sum, n) => sum + proportions[n], 0);
    for (const n of others) {
      const part = before > 1e-12 ? proportions[n] / before : 1 / others.length;
      proportions[n] = part * (free - next);
    }
    proportions[index] = next;
  };

  const signed = (part) => `${part >= 0 ? "+" : "−"}${Math.abs(100 * part).toFixed(2)} %`;
  const at = (id) => document.getElementById(id);

  const show = () => {
    proportions.forEach((r, n) => {
      at(`try-${n}`).value = r;
      at(`try-value-${n}`).textContent = `${(100 * r).toFixed(1)} %`;
      at(`try-lock-${n}`).checked = locked.has(n);
      const passes = at(`try-passes-${n}`);
      const unique = problem.law.unique && problem.law.unique[problem.columns[n]];
      if (passes) passes.textContent = unique ? `${(r / unique).toFixed(2)} passes` : "";
    });
    const own = predict(proportions), best = predict(problem.recommended);
    problem.law.targets.forEach((_, k) => {
      at(`try-loss-${k}`).textContent = own[k].toFixed(4);
      at(`try-change-${k}`).textContent = signed(own[k] / best[k] - 1);
    });
    const now = objective(proportions), there = objective(problem.recommended);
    at("try-objective").textContent = now.toFixed(4);
    at("try-gain").textContent = now > there * (1 + 5e-6)
      ? `the recommended mixture is ${(100 * (1 - there / now)).toFixed(2)} % lower`
      : now < there * (1 - 5e-6)
        ? `${(100 * (1 - now / there)).toFixed(2)} % lower than the recommended mixture`
        : "the same as the recommended mixture";
    const outside = broken(proportions);
    const region = at("try-region");
    region.dataset.inside = inside(proportions);
    region.textContent = outside.length
      ? `outside the bounds of ${outside.join(", ")}`
      : inside(proportions) ? "inside the near-optimal region" : "outside the near-optimal region";
  };

  const keep = () => {
    const locks = [...locked].join(".");
    const link = `#try=${proportions.map((r) => +r.toFixed(6)).join(",")}${locks && `&lock=${locks}`}`;
    history.replaceState(null, "", link);
  };

  const fromLink = () => {
    const parts = new URLSearchParams(location.hash.slice(1));
    const given = (parts.get("try") || "").split(",").map(Number);
    const sum = given.reduce((a, b) => a + b, 0);
    if (given.length !== problem.domains.length || !(sum > 0) || given.some((r) => !(r >= 0))) {
      return false;
    }
    proportions = given.map((r) => r / sum);
    locked = new Set((parts.get("lock") || "").split(".").filter(Boolean).map(Number));
    return true;
  };

  // Reads the law again; a mixture that is being tried stays.
  const load = async () => {
    const data = at("law-data");
    if (!data) return;
    problem = JSON.parse(await unpack(data.textContent));
    if (proportions.length !== problem.domains.length && !fromLink()) {
      proportions = [...problem.recommended];
      locked = new Set();
    }
    show();
  };

  document.addEventListener("input", (event) => {
    const index = event.target.dataset.domain;
    if (index === undefined || !problem) return;
    if (event.target.type === "checkbox") {
      locked[event.target.checked ? "add" : "delete"](+index);
    } else {
      move(+index, +event.target.value);
    }
    show();
    keep();
  });
  document.addEventListener("click", (event) => {
    const preset = event.target.dataset.preset;
    if (preset === undefined || !problem) return;
    proportions = [...problem.presets[preset]];
    show();
    keep();
  });
  window.addEventListener("hashchange", () => { if (problem && fromLink()) show(); });

  return { load, predict, objective, inside, get proportions() { return proportions; } };
})();
