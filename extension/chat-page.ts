/** The HTML of our pages and their content security policy. */

export interface PageParts {
  /** The one element that draws everything. */
  readonly element: 'gemma-chat' | 'gemma-context';
  readonly scriptUri: string;
  readonly styleUri: string;
  readonly codiconUri: string;
  /** What the editor serves our own files from. */
  readonly cspSource: string;
  /** Fresh for each page. */
  readonly nonce: string;
  readonly language: string;
}

/** Nothing is loaded but our own script, styles and font; nothing is sent anywhere. */
export function contentSecurityPolicy(cspSource: string, nonce: string): string {
  return [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src ${cspSource}`,
    `font-src ${cspSource}`,
    `img-src ${cspSource} blob:`,
    "connect-src 'none'",
    "form-action 'none'",
    "base-uri 'none'",
  ].join('; ');
}

export function webviewPage(parts: PageParts): string {
  // The id of the icon style sheet is where @vscode-elements' icons look for it.
  return `<!DOCTYPE html>
<html lang="${parts.language}">
  <head>
    <meta charset="utf-8">
    <meta http-equiv="Content-Security-Policy" content="${contentSecurityPolicy(parts.cspSource, parts.nonce)}">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <link rel="stylesheet" href="${parts.styleUri}">
    <link rel="stylesheet" href="${parts.codiconUri}" id="vscode-codicon-stylesheet">
    <title>Gemma</title>
  </head>
  <body>
    <${parts.element}></${parts.element}>
    <script type="module" nonce="${parts.nonce}" src="${parts.scriptUri}"></script>
  </body>
</html>
`;
}
