/** Entry of the context panel: the page holds one `gemma-context`. */

import './context-panel.ts';
