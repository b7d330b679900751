"""Word lists, templates and syllables of nine languages: what the documents of the raw benches are composed of.

    LANGUAGES["de"].templates        # one sentence per line; a capital letter is a class of words
    LANGUAGES["de"].open["N"].real   # common words, written down; the rest are made up from syllables

Function words and the commonest words are real, so that a language detector has what it looks for; a few tens of
thousands of made-up words with each language's endings follow them. Sentences are plausible in form, not in meaning.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Open:
    """An open class: real words, endings of the made-up ones, and how many there are of these."""

    real: str
    endings: str = ""
    made_up: int = 0


@dataclass(frozen=True)
class Language:
    """Templates, closed classes by letter, open classes by letter, and the parts of a made-up syllable."""

    templates: str
    closed: dict[str, str]
    open: dict[str, Open]
    onsets: str
    nuclei: str
    codas: str = ""
    spaced: bool = True
    capital_nouns: bool = False


_ENGLISH = Language(
    """T A N V T N P T N .
R V T N C R V D .
T N of T N V T A N .
D , R V that T N V T N .
when T N V , R V T N .
there was T A N P T N , C R V it D .
R have been P T N for T N .
if R V T N , T N will be A .
why did R V T N ?
T A C A N V P T N .
R would like T N because T N was D A .
P T N , T N V T N C T A N .""",
    {
        "T": "the a this that my your our their his her some any every each no one another such",
        "R": "I you we they he she it someone nobody everyone",
        "P": "in on at with from to by about after before between without under over through during against near",
        "C": "and but or so yet while",
        "D": "often never always already still perhaps quickly slowly again today yesterday usually really quite very",
    },
    {
        "N": Open(
            "time year people way day man thing woman life child world school state family student group country "
            "problem hand part place case week company system program question work government number night point "
            "home water room mother area money story fact month lot right study book eye job word business issue side "
            "order price letter delivery customer service account machine road window garden answer reason teacher",
            "tion ment ness er ity ing ship ance or age ism ist",
            16000,
        ),
        "V": Open(
            "is was has had said made went took came saw knew got gave found thought told became showed left felt put "
            "brought began kept held wrote stood heard let meant set met ran paid sat spoke lay led read grew lost "
            "fell sent built understood needed wanted used asked worked called tried helped opened bought",
            "ed es ized ates ied s",
            7000,
        ),
        "A": Open(
            "good new first last long great little own other old right big high different small large next early young "
            "important few public bad same able best better sure free true whole clear easy strong cheap broken late",
            "ful less able ive ous al ic ish y ent",
            5000,
        ),
    },
    "b c d f g h j k l m n p r s t v w br cr dr fr gr pr tr bl cl fl pl sl st sp sh ch th qu",
    "a e i o u ea ou ai oo ee",
    ". . n r l m t s nd st ck rt",
)

_GERMAN = Language(
    """T N V T A N P T N .
R V D , dass T N nicht A ist .
T A N V T N , C R V es D .
wenn R T N V , V T N D .
D V R T N P T N .
R habe T N P T N V und bin D A .
es gibt T A N P T N .
warum V R T N nicht ?
P T N V T N T A N .
T N , die R V , war D A .""",
    {
        "T": "der die das den dem des ein eine einen einem einer dieser diese dieses kein keine jeder mein meine unser",
        "R": "ich er sie es wir ihr man du jemand niemand",
        "P": "in auf mit von zu bei nach aus für über unter vor zwischen durch gegen ohne um seit während wegen",
        "C": "und oder aber denn sondern",
        "D": "nicht auch noch schon sehr nur immer wieder heute gestern vielleicht leider natürlich endlich kaum",
    },
    {
        "N": Open(
            "Zeit Jahr Tag Mann Frau Kind Haus Stadt Land Weg Hand Frage Antwort Arbeit Welt Leben Geld Woche Monat "
            "Straße Tür Wasser Buch Brief Schule Preis Firma Kunde Bestellung Lieferung Rechnung Problem Lösung "
            "Fenster Tisch Garten Abend Morgen Nacht Freund Familie Mutter Vater Lehrer Grund Teil Zimmer Maschine",
            "ung keit heit schaft er tum nis chen erei ling",
            9000,
        ),
        "V": Open(
            "ist war hat kommt geht macht sagt gibt steht liegt findet braucht zeigt bleibt arbeitet sucht kauft "
            "wird kann muss soll will hatte wurde konnte musste wollte nahm sah ging kam fand schrieb",
            "t te iert ierte elt elte",
            4000,
        ),
        "A": Open(
            "gute große kleine neue alte lange kurze schöne schlechte schnelle junge letzte erste ganze eigene andere "
            "wichtige richtige falsche billige teure frühe späte",
            "liche ige ische bare same lose hafte",
            3000,
        ),
    },
    "b d f g h k l m n p r s t w z sch st sp br dr fr gr kr tr bl fl gl kl schl schm schw pf",
    "a e i o u ei au ie ä ö ü eu",
    ". . n r l s t ch nd rt lt ng ck",
    capital_nouns=True,
)

_FRENCH = Language(
    """T N V T N A P T N .
R ne V pas T N P T N .
T N de T N V D A .
D , R V que T N V T N .
quand T N V , R V T N .
il y a T N A P T N .
si R V T N , T N sera A .
pourquoi est-ce que R V T N ?
R avons V T N avec T N , C T N était A .
P T N , T N V T N et T N A .""",
    {
        "T": "le la les un une des ce cette ces mon ma mes notre votre leur son sa ses chaque aucun quelques",
        "R": "je nous vous ils elle il on elles tu quelqu'un",
        "P": "dans sur avec sans pour par chez entre vers contre sous depuis pendant après avant",
        "C": "et mais ou donc car",
        "D": "souvent toujours jamais déjà encore peut-être hier bientôt vraiment trop très assez",
    },
    {
        "N": Open(
            "temps année jour homme femme enfant maison ville pays chemin main question réponse travail monde vie "
            "argent semaine mois rue porte eau livre lettre école prix entreprise client commande livraison facture "
            "problème solution fenêtre table jardin soir matin nuit ami famille mère père raison pièce machine",
            "tion ment eur euse ité age ance isme ette ier",
            8000,
        ),
        "V": Open(
            "est était a avait fait dit va vient voit sait peut veut doit prend trouve donne parle aime passe met "
            "reste tient porte montre demande cherche achète écrit arrive",
            "e ait era isait a é",
            3500,
        ),
        "A": Open(
            "bon grand petit nouveau vieux long court beau mauvais rapide jeune dernier premier autre même important "
            "vrai faux cher clair facile possible",
            "eux able ique if ive el aire ant",
            2500,
        ),
    },
    "b c d f g j l m n p r s t v ch br cr dr fr gr pl pr tr bl cl fl",
    "a e i o u é è ou ai eau oi an on in",
    ". . r l s t",
)

_SPANISH = Language(
    """T N V T N A P T N .
R no V T N P T N .
T N de T N V D A .
D , R V que T N V T N .
cuando T N V , R V T N .
hay T N A P T N .
si R V T N , T N será A .
por qué R V T N ?
R hemos V T N con T N , C T N era A .
P T N , T N V T N y T N A .""",
    {
        "T": "el la los las un una unos este esta estos mi tu su nuestro cada ningún algunos otra",
        "R": "yo nosotros ustedes ellos ella él alguien nadie usted",
        "P": "en con sin para por desde hasta entre sobre contra según durante hacia ante",
        "C": "y pero o porque aunque",
        "D": "siempre nunca ya también todavía quizás ayer pronto muy bastante además casi",
    },
    {
        "N": Open(
            "tiempo año día hombre mujer niño casa ciudad país camino mano pregunta respuesta trabajo mundo vida "
            "dinero semana mes calle puerta agua libro carta escuela precio empresa cliente pedido entrega factura "
            "problema solución ventana mesa jardín tarde mañana noche amigo familia madre padre razón parte máquina",
            "ción dad miento dor dora eza aje ismo illo encia",
            8000,
        ),
        "V": Open(
            "es era está tiene tenía hace dice va viene ve sabe puede quiere debe toma encuentra da habla pasa pone "
            "queda lleva muestra pide busca compra escribe llega",
            "a ó aba ía ará ido",
            3500,
        ),
        "A": Open(
            "bueno grande pequeño nuevo viejo largo corto malo rápido joven último primero otro mismo importante "
            "verdadero falso caro claro fácil posible",
            "oso able ico ivo al ario ante",
            2500,
        ),
    },
    "b c d f g j l m n p r s t v ch ll br cr dr fr gr pl pr tr bl cl",
    "a e i o u ie ue a o",
    ". . n r l s",
)

_RUSSIAN = Language(
    """T A N V P N .
R V , что T N V N .
когда N V , R D V N .
P N V T A N .
у меня есть N , C R V N .
почему R не V N ?
R D V P N C V N .""",
    {
        "T": "этот эта это тот мой наш ваш каждый другой весь",
        "R": "я мы вы он она они кто-то никто",
        "P": "в на с из от до для без под над через после перед между",
        "C": "и но или а поэтому",
        "D": "очень уже ещё всегда никогда сегодня вчера часто снова быстро",
    },
    {
        "N": Open(
            "время год день человек дом город дело жизнь рука вопрос ответ работа мир деньги неделя месяц улица дверь "
            "вода книга письмо школа цена заказ клиент машина ночь друг семья",
            "ость ение ник тель ка ство ция ик",
            6000,
        ),
        "V": Open(
            "был есть сказал пошёл знает видел хочет может нашёл написал купил стоит работает", "ал ил ает ит ует", 3000
        ),
        "A": Open("новый старый большой хороший плохой первый последний важный", "ный ский овый ая ивый", 2000),
    },
    "б в г д ж з к л м н п р с т х ч ш бр вл гр др кр пр ст тр сл",
    "а е и о у я ы ю",
    ". . н р л м т с й",
)

_GREEK = Language(
    """T N V T A N P T N .
R V ότι T N V T N .
όταν T N V , R V T N .
P T N V T A N .
γιατί δεν V R T N ?
T N είναι D A C T N V D .""",
    {
        "T": "ο η το τα του της ένα μια αυτό κάθε",
        "R": "εγώ εμείς εσείς αυτός εκείνη κάποιος κανείς",
        "P": "σε από με για χωρίς μετά πριν προς κατά μέσα",
        "C": "και αλλά ή όμως",
        "D": "πολύ πάντα ποτέ ήδη ακόμα σήμερα χθες συχνά ξανά",
    },
    {
        "N": Open(
            "χρόνος μέρα άνθρωπος σπίτι πόλη δρόμος χέρι ερώτηση απάντηση δουλειά κόσμος ζωή νερό βιβλίο",
            "ος η ο μα ση της ία",
            5000,
        ),
        "V": Open("είναι έχει ήταν είπε πήγε ξέρει βλέπει θέλει μπορεί βρήκε έγραψε", "ει ησε εται αει ούσε", 2500),
        "A": Open("καλό νέο παλιό μεγάλο μικρό πρώτο τελευταίο", "ικό ινό ερό τό", 1500),
    },
    "β γ δ ζ θ κ λ μ ν ξ π ρ σ τ φ χ ψ κρ πρ στ τρ",
    "α ε η ι ο υ ω ου αι ει",
    ". . ν ρ λ",
)

_ARABIC = Language(
    """V N P N A .
R V N C V N .
إن N A D .
N الذي V P N هو N A .
لماذا V R N ?
P N V N A C N .""",
    {
        "R": "هو هي نحن أنا هم أنت",
        "P": "في من إلى على عن مع بعد قبل بين تحت",
        "C": "و ثم لكن أو",
        "D": "جدا أيضا دائما اليوم أمس غالبا",
    },
    {
        "N": Open(
            "الوقت اليوم الرجل البيت المدينة العمل العالم الحياة الماء الكتاب المدرسة السعر السؤال الجواب",
            "ة ات ون ان ية",
            5000,
        ),
        "V": Open("كان قال ذهب يعرف يريد وجد كتب اشترى يعمل رأى", "ت نا وا ا", 2500),
        "A": Open("جديد قديم كبير صغير جيد سيئ أول أخير", "ي ية ين", 1500),
    },
    "ب ت ث ج ح خ د ذ ر ز س ش ص ض ط ع غ ف ق ك ل م ن ه",
    "ا و ي . . .",
    ". . ن ر ل م ب د",
)

_CHINESE = Language(
    """R 在 N V 了 N .
T N 的 N D A , C R V N .
因为 N 很 A , 所以 R 不 V N .
R 为什么 没有 V N ?
P N , T N V 了 A 的 N .""",
    {
        "R": "我 我们 你 他 她 他们 大家",
        "T": "这个 那个 一个 每个 我的 你的",
        "P": "从 对 在 跟 为了 关于 根据",
        "C": "但是 而且 所以 或者 不过",
        "D": "非常 已经 总是 也 都 还 常常",
    },
    {
        "N": Open(
            "时间 问题 工作 学生 公司 城市 国家 生活 朋友 电话 东西 世界 学校 老师 客户 价格 服务 机器 窗户 花园",
            ".",
            9000,
        ),
        "V": Open("说 去 来 看 做 买 写 找 知道 觉得 需要 喜欢 使用 开始 决定", ".", 4000),
        "A": Open("好 大 小 新 旧 长 重要 便宜 漂亮 不同", ".", 2000),
    },
    "天 地 人 山 水 火 木 金 土 日 月 星 风 云 雨 雪 花 草 树 鸟 鱼 马 牛 "
    "羊 车 船 路 门 书 笔 纸 字 文 语 声 音 色 形 光 电 力 心 手 足 目 耳 口",
    "生 成 立 动 静 明 化 学 产 品 机 器 员 长 面 道 理 气 度 性 "
    "体 系 法 案 事 务 业 界 会 场 市 村 国 家 民 族 史 术 科 技",
    spaced=False,
)

_JAPANESE = Language(
    """R は N で N を V .
T N の N は とても A です .
N が V ので 、 R は N を V .
どうして R は N を V か ?
P N から 、 T N を D V .""",
    {
        "R": "私 私たち あなた 彼 彼女 みんな",
        "T": "この その あの 私の 新しい 古い",
        "P": "昨日の 今日の 最近の 去年の",
        "D": "いつも もう また すぐに よく",
    },
    {
        "N": Open("時間 問題 仕事 学生 会社 町 国 生活 友達 電話 物 世界 学校 先生 客 値段 機械 窓 庭", ".", 7000),
        "V": Open(
            "行きました 来ました 見ました 買いました 書きました 探しています 使っています 知りません",
            "します しました しています できます",
            4000,
        ),
        "A": Open("良い 大きい 小さい 高い 安い 大切", "的", 1500),
    },
    "天 地 人 山 水 火 木 金 日 月 風 雲 雨 雪 花 草 鳥 魚 馬 車 "
    "船 路 門 書 紙 字 文 語 声 音 色 形 光 電 力 心 手 目 耳 口",
    "生 成 立 動 静 明 化 学 産 品 機 器 員 長 面 道 理 気 度 性 "
    "体 系 法 案 事 務 業 界 会 場 市 村 国 家 民 族 史 術 科 技",
    spaced=False,
)

LANGUAGES: dict[str, Language] = {
    "en": _ENGLISH,
    "de": _GERMAN,
    "fr": _FRENCH,
    "es": _SPANISH,
    "ru": _RUSSIAN,
    "el": _GREEK,
    "ar": _ARABIC,
    "zh": _CHINESE,
    "ja": _JAPANESE,
}
