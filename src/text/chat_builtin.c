/* Built-in formats, for files without a usable template: our own short templates of the published
 * turn formats, picked by a token that only this family has. ChatML comes last and fits most. */
#include "text/chat_impl.h"

#define NO_SYSTEM_TURN                                                                             \
    "{%- set ns = namespace(system='') -%}"                                                        \
    "{%- for m in messages -%}"                                                                    \
    "{%- if m.role == 'system' -%}{%- set ns.system = ns.system + m.content + '\\n\\n' -%}"

static const struct {
    const char *name, *token, *template;
} formats[] = {
    {"llama3", "<|start_header_id|>",
     "{{- bos_token -}}{%- for m in messages -%}"
     "{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content + '<|eot_id|>' -}}"
     "{%- endfor -%}"
     "{%- if add_generation_prompt -%}"
     "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}"},
    {"gemma4", "<|turn>",
     "{{- bos_token -}}{%- for m in messages -%}"
     "{{- '<|turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content"
     " + '<turn|>\\n' -}}{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{- '<|turn>model\\n' -}}{%- endif -%}"},
    {"gemma", "<start_of_turn>",
     "{{- bos_token -}}" NO_SYSTEM_TURN "{%- else -%}"
     "{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' -}}"
     "{%- if m.role == 'user' -%}{{- ns.system -}}{%- set ns.system = '' -%}{%- endif -%}"
     "{{- m.content + '<end_of_turn>\\n' -}}{%- endif -%}{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}"},
    {"granite", "<|start_of_role|>",
     "{%- for m in messages -%}"
     "{{- '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\\n' -}}"
     "{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{- '<|start_of_role|>assistant<|end_of_role|>' -}}"
     "{%- endif -%}"},
    {"harmony", "<|channel|>",
     "{%- for m in messages -%}"
     "{{- '<|start|>' + m.role + ('<|channel|>final' if m.role == 'assistant' else '')"
     " + '<|message|>' + m.content + '<|end|>' -}}{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{- '<|start|>assistant' -}}{%- endif -%}"},
    {"phi4", "<|im_sep|>",
     "{%- for m in messages -%}"
     "{{- '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' -}}{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant<|im_sep|>' -}}{%- endif -%}"},
    {"chatml", "<|im_start|>", NULL},
    {"command-r", "<|START_OF_TURN_TOKEN|>",
     "{{- bos_token -}}{%- for m in messages -%}{{- '<|START_OF_TURN_TOKEN|>' + ('<|USER_TOKEN|>' "
     "if "
     "m.role == 'user' else "
     "'<|CHATBOT_TOKEN|>' if m.role == 'assistant' else '<|SYSTEM_TOKEN|>') + m.content"
     " + '<|END_OF_TURN_TOKEN|>' -}}{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' -}}"
     "{%- endif -%}"},
    {"glm4", "[gMASK]",
     "{{- '[gMASK]<sop>' -}}{%- for m in messages -%}"
     "{{- '<|' + m.role + '|>\\n' + m.content -}}{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}"},
    {"phi3", "<|end|>",
     "{%- for m in messages -%}"
     "{{- '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' -}}{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}"},
    {"deepseek", "<｜User｜>",
     "{{- bos_token -}}{%- for m in messages -%}"
     "{%- if m.role == 'assistant' -%}"
     "{{- '<｜Assistant｜>' + m.content + '<｜end▁of▁sentence｜>' -}}"
     "{%- elif m.role == 'system' -%}{{- m.content -}}"
     "{%- else -%}{{- '<｜User｜>' + m.content -}}{%- endif -%}{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{- '<｜Assistant｜>' -}}{%- endif -%}"},
    {"mistral", "[INST]",
     "{{- bos_token -}}" NO_SYSTEM_TURN "{%- elif m.role == 'user' -%}"
     "{{- '[INST]' + ns.system + m.content + '[/INST]' -}}{%- set ns.system = '' -%}"
     "{%- else -%}{{- m.content + eos_token -}}{%- endif -%}{%- endfor -%}"},
};

static const char chatml[] =
    "{%- for m in messages -%}"
    "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

const char *chat_builtin(const struct chat_source *s, struct str *template) {
    *template = str_of(chatml);
    for (size_t i = 0; s->has_token && i < sizeof formats / sizeof *formats; i++) {
        if (!s->has_token(s->ctx, formats[i].token)) continue;
        if (formats[i].template) *template = str_of(formats[i].template);
        return formats[i].name;
    }
    return "chatml";
}
