;; Carries prefix hashes from a thread's memory of prompts to a reader's place in the index's memory (prompt.ts). AssemblyScript
;; has one memory for each module; JavaScript would copy to the shared one word by word.
(module
  (import "env" "index" (memory $index 0 65536 shared))
  (import "env" "prompt" (memory $prompt 0 65536))
  (func (export "carry") (param $to i32) (param $from i32) (param $bytes i32)
    (memory.copy $index $prompt (local.get $to) (local.get $from) (local.get $bytes))))
