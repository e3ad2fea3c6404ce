// Passkeys: asks the browser for one, and sends what it answers with an ordinary form. A form with data-passkey names in
// data-options where the question comes from, in data-answer the field for the answer; its button is hidden until we know that the browser can do it.
(() => {
  "use strict";
  if (!window.PublicKeyCredential || !PublicKeyCredential.parseRequestOptionsFromJSON) return;

  const ask = async (form) => {
    const answer = await fetch(form.dataset.options, {
      method: "POST",
      headers: { "X-CSRFToken": form.elements.csrf_token.value },
      credentials: "same-origin",
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const options = await answer.json();
    return form.dataset.passkey === "new"
      ? navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
      : navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
  };

  const said = (form, shown) => {
    form.querySelector("[role=alert]").hidden = !shown;
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      said(form, false);
      try {
        form.elements[form.dataset.answer].value = JSON.stringify(await ask(form));
        form.submit();
      } catch {
        said(form, true); // closed by the person, timed out, or refused by the browser
      }
    });
  }
})();
