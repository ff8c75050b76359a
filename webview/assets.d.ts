/** Style sheets are bundled as text. */
declare module '*.css' {
  const text: string;
  export default text;
}

/** The package brings no types of its own. */
declare module '@plantuml/core/plantuml.js' {
  /** Exactly one of the two is called, later. */
  export function renderToString(
    lines: readonly string[],
    onSuccess: (svg: string) => void,
    onError: (message: string) => void,
  ): void;
}
