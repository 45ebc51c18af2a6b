"""Writes a tiny Llama with random weights and a tokenizer of its own: `python tiny_model.py FOLDER`. 0.5 million parameters; needs torch, safetensors, tokenizers."""
import json, random, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers
d = Path(sys.argv[1]); d.mkdir(parents=True, exist_ok=True)
special = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<tool_call>', '</tool_call>']
tok = Tokenizer(models.BPE()); tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False); tok.decoder = decoders.ByteLevel()
rng = random.Random(0)
words = ('the a of to and in is it you that he was for on are with as his they be at one have this from or had by hot but some what there we can out '
         'other were all your when up use word how said an each she which do their time if will way about many then them would write like so these her '
         'long make thing see him two has look more day could go come did my sound no most number who over know water than call first people may down side '
         'been now find any new work part take get place made live where after back little only round man year came show every good me give our under name').split()
corpus = [' '.join(rng.choice(words) for _ in range(40)) + '.' for _ in range(400)]
tok.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=1024, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
tok.save(str(d / 'tokenizer.json'))
n = tok.get_vocab_size()
chat = ("{%- if tools %}<|im_start|>system\nTools: {{ tools | tojson }}<|im_end|>\n{% endif -%}"
        "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor -%}"
        "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif -%}")
J = lambda name, v: (d / name).write_text(json.dumps(v, indent=1))
J('tokenizer_config.json', {'tokenizer_class': 'PreTrainedTokenizerFast', 'eos_token': '<|im_end|>', 'pad_token': '<|endoftext|>', 'model_max_length': 32768, 'chat_template': chat})
J('generation_config.json', {'eos_token_id': 2, 'pad_token_id': 0, 'do_sample': True, 'temperature': 0.9, 'top_p': 0.95})
J('config.json', {'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', 'vocab_size': n, 'hidden_size': 128, 'intermediate_size': 256, 'num_hidden_layers': 2,
                  'num_attention_heads': 4, 'num_key_value_heads': 2, 'head_dim': 32, 'hidden_act': 'silu', 'rms_norm_eps': 1e-6, 'rope_theta': 10000.0,
                  'max_position_embeddings': 32768, 'tie_word_embeddings': False, 'eos_token_id': 2, 'pad_token_id': 0, 'torch_dtype': 'float32'})
g = torch.Generator().manual_seed(0); R = lambda std, *sh: torch.randn(*sh, generator=g) * std
H, I, KV = 128, 256, 64
emb, head = R(.5, n, H), R(.13, n, H)
emb[:, 0] = 1.0; head[:, 0] = 0.0
for t, i in tok.get_vocab().items():            # never sample special tokens (but sometimes EOS) or half characters
    if i != 2 and (t in special or any(not (33 <= ord(c) < 127 or c == '\u0120') for c in t)): head[i, 0] = -40.0
w = {'model.embed_tokens.weight': emb, 'model.norm.weight': torch.ones(H), 'lm_head.weight': head}
for i in range(2):
    p = f'model.layers.{i}.'
    w |= {p + 'input_layernorm.weight': torch.ones(H), p + 'post_attention_layernorm.weight': torch.ones(H), p + 'self_attn.q_proj.weight': R(.05, H, H),
          p + 'self_attn.k_proj.weight': R(.05, KV, H), p + 'self_attn.v_proj.weight': R(.05, KV, H), p + 'self_attn.o_proj.weight': R(.02, H, H),
          p + 'mlp.gate_proj.weight': R(.05, I, H), p + 'mlp.up_proj.weight': R(.05, I, H), p + 'mlp.down_proj.weight': R(.02, H, I)}
save_file(w, str(d / 'model.safetensors'), metadata={'format': 'pt'})
