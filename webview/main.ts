/** Entry of the chat page: defines the elements; the page holds one `gemma-chat`. */

import './chat.ts';
