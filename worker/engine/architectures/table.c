/* Every architecture there is. Adding one is a file that reads like its figure and a row here. */
#include "worker/engine/network.h"

#define ARCHITECTURES(row)                                                                                   \
    row(bart) row(mbart) row(pegasus) row(marian) row(m2m_100) row(led) row(t5) row(mt5) row(llama)          \
        row(mistral) row(qwen2) row(qwen3) row(gemma2) row(gemma3_text) row(phi3) row(gpt2) row(opt)         \
            row(bert) row(roberta) row(xlm_roberta) row(deberta_v2)

#define DECLARE(name) extern const struct architecture architecture_##name;
#define ROW(name) &architecture_##name,
ARCHITECTURES(DECLARE)

const struct architecture *const architecture_table[] = {ARCHITECTURES(ROW)};
const size_t architecture_count = sizeof architecture_table / sizeof *architecture_table;
