// The theme draws diagrams with a global `mermaid`. Without one it would fetch it from a server elsewhere, so here is one
// that loads this site's own copy when a page has a diagram.
{
  const source = new URL("mermaid.min.js", document.currentScript.src);
  let settings, loading;

  // Pixels: the text of a wide page. On a narrow page a diagram is as large as there, and scrolls.
  const WIDE = 680;

  const load = () =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = () => {
        mermaid.initialize(settings); // the script has replaced the global
        resolve(mermaid);
      };
      script.onerror = () => reject(new Error(`${source} cannot be loaded`));
      document.head.append(script);
    });

  window.mermaid = {
    initialize(given) {
      settings = given;
    },
    async render(id, text) {
      loading ??= load();
      const drawn = await (await loading).render(id, text);
      const svg = drawn.svg.replace(
        /max-width: ([\d.]+)px/,
        (limit, width) => `${limit}; min-width: ${Math.min(width, WIDE)}px`,
      );
      return { ...drawn, svg };
    },
  };
}
