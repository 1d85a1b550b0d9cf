// Buttons that copy the text of the element they name. Without a script they are not shown.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
    } catch {  // there is no clipboard but behind TLS: select it, and use the old command
      if (source.select) source.select();
      else getSelection().selectAllChildren(source);
      document.execCommand("copy");
    }
    document.getElementById("message").textContent = button.dataset.copied;
  });
}
