/** What the suite inside the editor hands to the process that started the editor. */
export interface HostReport {
  readonly tests: HostTest[];
}

export interface HostTest {
  readonly title: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly error?: string;
}
