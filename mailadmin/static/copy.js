/* Copies what the element named in data-copies holds: <button data-copies="support-3" data-done="Copied">. Where scripts are off the button is hidden; the
   text is of class select-all, so that one click selects it. A page that is not served over TLS has no navigator.clipboard; there the old command does it. */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copies]");
  const source = button && document.getElementById(button.dataset.copies);
  if (!source) return;
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    getSelection().selectAllChildren(source);
    document.execCommand("copy");
  }
  button.querySelector("span").textContent = button.dataset.done;
});
