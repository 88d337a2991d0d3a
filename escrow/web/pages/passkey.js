// Passkeys are the one thing here that needs a script. It hands the browser what the page's
// form asks for, and the form what the browser answers. What it says stands in the page.
"use strict";
(() => {
  if (!window.PublicKeyCredential) return;
  const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const ask = async (form) => {
    const begun = await fetch(form.dataset.begin, { method: "POST", headers: { Accept: "application/json", "Content-Type": "application/x-www-form-urlencoded" } });
    if (begun.status === 401) throw { name: (await begun.json()).code === "session.prove_again" ? "stale" : "out" };
    if (!begun.ok) throw new Error(String(begun.status));
    const options = await begun.json();
    const create = "user" in options;
    options.challenge = bytes(options.challenge);
    for (const one of options.excludeCredentials || []) one.id = bytes(one.id);
    if (create) options.user.id = bytes(options.user.id);
    const c = await (create ? navigator.credentials.create({ publicKey: options }) : navigator.credentials.get({ publicKey: options }));
    const said = { clientDataJSON: text(c.response.clientDataJSON) };
    if (create) {
      said.attestationObject = text(c.response.attestationObject);
    } else {
      said.authenticatorData = text(c.response.authenticatorData);
      said.signature = text(c.response.signature);
      said.userHandle = text(c.response.userHandle || new ArrayBuffer(0));
    }
    return JSON.stringify({ id: text(c.rawId), rawId: text(c.rawId), type: c.type, response: said, clientExtensionResults: c.getClientExtensionResults() });
  };

  // What the service keeps of a word, in bytes: see issue.MaxWord.
  const tooLong = (word) => new TextEncoder().encode(word.trim().replace(/\s+/g, " ")).length > 64;

  // Which of the page's texts says why it stopped. A cancel says no more than that it failed.
  const why = { stale: "stale", out: "out", InvalidStateError: "there", NotSupportedError: "none", ConstraintError: "none" };

  for (const form of document.querySelectorAll("form[data-begin]")) {
    let busy = false;
    const failed = form.querySelector("[role=alert]");
    const word = form.elements.word;
    if (word) { // typed before a proof that was asked for
      word.value ||= sessionStorage.getItem("word") || "";
      sessionStorage.removeItem("word");
    }
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      if (event.submitter && event.submitter.name === "lang") return; // the page in another language
      event.preventDefault();
      if (busy) return; // not by disabling the button, which would lose the focus
      if (word && tooLong(word.value)) return form.submit(); // before the device makes one: the page says it at the field
      busy = true;
      failed.replaceChildren();
      try {
        form.elements.answer.value = await ask(form);
        form.submit();
      } catch (e) {
        const text = form.querySelector(`[data-${why[e.name]}]`) || form.querySelector("[data-failed]");
        failed.replaceChildren(text.content.cloneNode(true));
        if (word && (e.name === "stale" || e.name === "out")) sessionStorage.setItem("word", word.value);
      } finally {
        busy = false;
      }
    });
  }
  for (const one of document.querySelectorAll("[data-without]")) one.hidden = true;
})();
