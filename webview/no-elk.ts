/** Stands in for the ELK layout, which Mermaid loads only for diagrams that ask for it: those are refused. */

export default class {
  constructor() {
    throw new Error('the ELK layout is not part of Gemma Sidecar');
  }
}
