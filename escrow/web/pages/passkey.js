// Passkeys are the one thing here that needs a script. It hands the browser what the page's
// form asks for, and the form what the browser answers. What it says stands in the page.
"use strict";
(() => {
  if (!window.PublicKeyCredential) return;
  const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const ask = async (form) => {
    const begun = await fetch(form.dataset.begin, { method: "POST", headers: { Accept: "application/json", "Content-Type": "application/x-www-form-urlencoded" } });
    if (begun.status === 401) throw { name: "stale" }; // whoever adds one proved too long ago who they are
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

  const why = async (e, create) => {
    if (e.name === "stale") return "stale";
    if (e.name === "InvalidStateError") return "there";
    if (create && (e.name === "NotSupportedError" || e.name === "ConstraintError" || !(await PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable()))) return "none";
    return "failed";
  };

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
      busy = true;
      failed.replaceChildren();
      try {
        form.elements.answer.value = await ask(form);
        form.submit();
      } catch (e) {
        const text = form.querySelector(`[data-${await why(e, Boolean(word))}]`) || form.querySelector("[data-failed]");
        failed.replaceChildren(text.content.cloneNode(true));
        if (word && e.name === "stale") sessionStorage.setItem("word", word.value);
      }
      busy = false;
    });
  }
  for (const one of document.querySelectorAll("[data-without]")) one.hidden = true;
})();
