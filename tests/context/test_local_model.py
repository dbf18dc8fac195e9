"""Generative models in a folder."""

import pytest
import torch
from helpers.pictures import gradient_picture
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from mmie.blocks.errors import WeightsUnavailable
from mmie.context.errors import ContextError
from mmie.context.generation import GenerationSettings
from mmie.context.local_model import LocalModel, local_model_name

WORDS = ["<pad>", "<s>", "</s>", "<image>", "user", "model", "caption", "of", "a", "cat", "dog"]
TEMPLATE = (
    "{% for message in messages %}user {% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %} model {% endfor %}"
)
TEXT_ONLY = GenerationSettings("m", "{text}", max_tokens=4, max_side=0)


def text_config():
    return LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def word_tokenizer():
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """Folder of a tiny Llama without a chat template."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    LlamaForCausalLM(text_config()).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vision_model(tmp_path_factory):
    """Folder of a tiny LLaVA with a chat template, whose pictures change its answers."""
    folder = tmp_path_factory.mktemp("llava")
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text_config(),
        image_token_index=WORDS.index("<image>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    LlavaProcessor(
        images,
        word_tokenizer(),
        patch_size=4,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


def test_an_answer_is_what_follows_the_prompt(language_model):
    answer = LocalModel(language_model, TEXT_ONLY).answer("caption of a cat", [])
    model = LlamaForCausalLM.from_pretrained(language_model)
    tokenizer = word_tokenizer()
    tokens = tokenizer("caption of a cat", return_tensors="pt")["input_ids"]
    for _ in range(4):
        best = model(tokens).logits[:, -1:].argmax(-1)
        tokens = torch.cat([tokens, best], 1)
    expected = tokenizer.decode(tokens[0, 4:].tolist(), skip_special_tokens=True)
    assert answer == expected


def test_pictures_are_read_where_the_chat_template_puts_them(vision_model):
    settings = GenerationSettings("m", "{text}", max_tokens=4, max_side=8)
    model = LocalModel(vision_model, settings)
    inputs = model._inputs("caption of a cat", [gradient_picture(20, 20)])
    assert inputs["pixel_values"].shape == (1, 3, 8, 8)
    assert (inputs["input_ids"] == WORDS.index("<image>")).sum() == 4
    assert set(model.answer("caption of a cat", [gradient_picture(20, 20)]).split()) <= set(WORDS)


def test_a_model_with_pictures_answers_texts_alone(vision_model):
    settings = GenerationSettings("m", "{text}", max_tokens=4, max_side=8)
    answer = LocalModel(vision_model, settings).answer("caption of a cat", [])
    assert set(answer.split()) <= set(WORDS)


def test_a_model_without_pictures_needs_to_be_told(language_model):
    with pytest.raises(ContextError, match="--max_side 0"):
        LocalModel(language_model, GenerationSettings("m", "{text}"))


def test_a_folder_without_a_generative_model_is_refused(tmp_path):
    with pytest.raises(WeightsUnavailable, match="generative model"):
        LocalModel(tmp_path, TEXT_ONLY)
    BertModel(
        BertConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1)
    ).save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(WeightsUnavailable, match="lack"):
        LocalModel(tmp_path, TEXT_ONLY)


def test_the_name_depends_on_the_weights(language_model, vision_model):
    name, digest = local_model_name(language_model).split("@")
    assert name == language_model.name
    assert digest != local_model_name(vision_model).split("@")[1]
