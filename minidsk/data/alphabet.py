"""What the course's texts are made of: special tokens, and the characters of two languages."""

SPECIALS = ("<pad>", "<bos>", "<eos>", "<user>", "<assistant>", "<think>", "</think>", "<answer>", "</answer>", "<unk>")
ASCII = "\n" + "".join(map(chr, range(32, 127)))
CHINESE = (
    "用得到从再试一次不对是算错好来看我们他你的题目数字答案加减乘除以等于个大小多少了吗先后最"
    "两二三四五六七八九十零百千丽明林王美老阿，。：；！？、（）“”"
)
