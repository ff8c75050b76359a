import * as vscode from 'vscode';

interface Manifest {
  readonly contributes: {
    readonly commands: readonly { readonly command: string }[];
    readonly configuration: { readonly properties: Readonly<Record<string, { readonly scope: string }>> };
  };
}

/** The extension under test. Throws where the editor did not load it. */
export function extensionUnderTest(): vscode.Extension<unknown> {
  const extension = vscode.extensions.getExtension('gemma-sidecar.gemma-sidecar');
  if (extension === undefined) throw new Error('The editor did not load the extension.');
  return extension;
}

export function contributions(): Manifest['contributes'] {
  return (extensionUnderTest().packageJSON as Manifest).contributes;
}
