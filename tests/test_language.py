"""Languages are told apart, doubt is said, and a text's answer is its own."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

from examples import examples
from stillhouse.raw.language import Identified, identify

# Tickets, reviews and product titles, many of them short, in small letters or without accents.
SENTENCES = {
    "en": [
        "My parcel never arrived and nobody answers the phone.",
        "Please cancel my subscription before the end of the month.",
        "The second half of the film drags, but the acting saves it.",
        "Could you tell me where I can find the invoice for March?",
        "The app closes by itself whenever I open the settings.",
        "Great value for the price, would buy again.",
        "I cannot log in since yesterday's update.",
        "where is my order??",
        "how do i change my email address",
        "pls reset my pwd i cant get in",
        "app keeps crashing omg fix it",
        "refund not recieved yet, 2 weeks!!",
        "Wireless mouse with silent click, black",
        "Stainless steel water bottle 750 ml",
        "not worth the money tbh",
        "u guys are the best!!! thx so much",
        "Printer offline after update win11",
        "meh, seen better movies honestly",
    ],
    "de": [
        "Mein Paket ist nie angekommen und niemand geht ans Telefon.",
        "Bitte kündigen Sie mein Abonnement zum Ende des Monats.",
        "Die zweite Hälfte des Films zieht sich, aber die Schauspieler retten ihn.",
        "Können Sie mir sagen, wo ich die Rechnung für März finde?",
        "Die App schließt sich von selbst, sobald ich die Einstellungen öffne.",
        "Gutes Gerät für den Preis, gerne wieder.",
        "Seit dem Update gestern kann ich mich nicht anmelden.",
        "wo bleibt meine bestellung",
        "wie ändere ich meine adresse",
        "komm nich mehr rein seit gestern",
        "warum geht das ding nich an",
        "Edelstahl Trinkflasche 750 ml schwarz",
        "hab noch kein geld zurueck bekommen",
        "Drucker offline nach dem Update",
    ],
    "fr": [
        "Mon colis n'est jamais arrivé et personne ne répond au téléphone.",
        "Merci de résilier mon abonnement avant la fin du mois.",
        "La deuxième moitié du film traîne, mais les acteurs le sauvent.",
        "Pouvez-vous me dire où trouver la facture de mars ?",
        "L'application se ferme toute seule quand j'ouvre les réglages.",
        "Très bon rapport qualité-prix, je recommande.",
        "Je ne peux plus me connecter depuis la mise à jour d'hier.",
        "où est ma commande ??",
        "comment changer mon adresse",
        "jarrive plus a me connecter depuis hier",
        "toujours pas recu mon remboursement",
        "Gourde en acier inoxydable 750 ml noire",
        "c'est nul ce truc franchement",
    ],
    "es": [
        "Mi paquete nunca llegó y nadie contesta el teléfono.",
        "Por favor, cancelen mi suscripción antes de fin de mes.",
        "La segunda mitad de la película se hace larga, pero los actores la salvan.",
        "¿Me puede decir dónde encuentro la factura de marzo?",
        "La aplicación se cierra sola cuando abro los ajustes.",
        "Muy buena relación calidad-precio, lo compraría otra vez.",
        "No puedo entrar desde la actualización de ayer.",
        "dónde está mi pedido",
        "cómo cambio mi dirección",
        "no me deja entrar desde ayer",
        "todavia no me devuelven el dinero",
        "Botella de acero inoxidable 750 ml negra",
        "porque no funciona esto",
    ],
    "it": [
        "Il mio pacco non è mai arrivato e nessuno risponde al telefono.",
        "Vi prego di disdire il mio abbonamento entro la fine del mese.",
        "La seconda metà del film è lenta, ma gli attori lo salvano.",
        "Mi può dire dove trovo la fattura di marzo?",
        "L'applicazione si chiude da sola quando apro le impostazioni.",
        "Ottimo rapporto qualità-prezzo, lo ricomprerei.",
        "Non riesco più ad accedere dopo l'aggiornamento di ieri.",
        "dov'è il mio ordine",
        "come cambio il mio indirizzo",
        "non riesco piu a entrare da ieri",
        "ancora nessun rimborso, vergogna",
        "Bottiglia in acciaio inox 750 ml nera",
    ],
    "pt": [
        "A minha encomenda nunca chegou e ninguém atende o telefone.",
        "Por favor, cancelem a minha assinatura antes do fim do mês.",
        "A segunda metade do filme arrasta-se, mas os atores salvam-no.",
        "Pode dizer-me onde encontro a fatura de março?",
        "O aplicativo fecha sozinho quando abro as configurações.",
        "Ótimo custo-benefício, compraria de novo.",
        "Não consigo entrar desde a atualização de ontem.",
        "onde está o meu pedido",
        "como mudo o meu endereço",
        "nao consigo entrar desde ontem",
        "ainda nao recebi o reembolso",
        "Garrafa de aço inoxidável 750 ml preta",
    ],
    "nl": [
        "Mijn pakket is nooit aangekomen en niemand neemt de telefoon op.",
        "Wilt u mijn abonnement voor het einde van de maand opzeggen?",
        "De tweede helft van de film is traag, maar de acteurs redden hem.",
        "Kunt u mij zeggen waar ik de factuur van maart vind?",
        "De app sluit vanzelf zodra ik de instellingen open.",
        "Goede prijs-kwaliteitverhouding, zou ik weer kopen.",
        "Sinds de update van gisteren kan ik niet meer inloggen.",
        "waar blijft mijn bestelling",
        "hoe wijzig ik mijn adres",
        "kan sinds gisteren niet meer inloggen",
        "nog steeds geen geld terug gehad",
        "Roestvrijstalen drinkfles 750 ml zwart",
    ],
    "pl": [
        "Moja paczka nigdy nie dotarła i nikt nie odbiera telefonu.",
        "Proszę anulować moją subskrypcję przed końcem miesiąca.",
        "Druga połowa filmu się dłuży, ale ratują go aktorzy.",
        "Czy może mi pani powiedzieć, gdzie znajdę fakturę za marzec?",
        "Aplikacja sama się zamyka, gdy otwieram ustawienia.",
        "Bardzo dobry stosunek ceny do jakości, kupię ponownie.",
        "Od wczorajszej aktualizacji nie mogę się zalogować.",
        "gdzie jest moje zamówienie",
        "jak zmienić swój adres",
        "nie moge sie zalogowac od wczoraj",
        "nadal nie dostalem zwrotu pieniedzy",
        "Butelka ze stali nierdzewnej 750 ml czarna",
    ],
    "sv": [
        "Mitt paket kom aldrig fram och ingen svarar i telefonen.",
        "Vänligen avsluta min prenumeration före månadens slut.",
        "Andra halvan av filmen är långsam, men skådespelarna räddar den.",
        "Kan du säga mig var jag hittar fakturan för mars?",
        "Appen stängs av sig själv när jag öppnar inställningarna.",
        "Mycket prisvärd, skulle köpa igen.",
        "Jag kan inte logga in sedan gårdagens uppdatering.",
        "var är min beställning",
        "hur ändrar jag min adress",
        "kommer inte in sedan igår",
        "har fortfarande inte fått pengarna",
        "Vattenflaska i rostfritt stål 750 ml svart",
    ],
    "tr": [
        "Kargom hiç gelmedi ve kimse telefona bakmıyor.",
        "Lütfen aboneliğimi ay sonundan önce iptal edin.",
        "Filmin ikinci yarısı ağır ilerliyor ama oyuncular kurtarıyor.",
        "Mart faturasını nerede bulabileceğimi söyler misiniz?",
        "Ayarları açtığımda uygulama kendi kendine kapanıyor.",
        "Fiyatına göre çok iyi, tekrar alırım.",
        "Dünkü güncellemeden beri giriş yapamıyorum.",
        "siparişim nerede kaldı",
        "adresimi nasıl değiştiririm",
        "dunden beri giris yapamiyorum",
        "hala parami iade etmediler",
    ],
    "ru": [
        "Моя посылка так и не пришла, и никто не берёт трубку.",
        "Пожалуйста, отмените мою подписку до конца месяца.",
        "Вторая половина фильма затянута, но актёры его спасают.",
        "Подскажите, где найти счёт за март?",
        "Приложение само закрывается, когда я открываю настройки.",
        "Отличное качество за свою цену, куплю ещё.",
        "Не могу войти после вчерашнего обновления.",
        "где мой заказ, скажите",
        "как поменять адрес почты",
        "не могу зайти со вчера",
        "до сих пор не вернули деньги",
        "Бутылка из нержавеющей стали 750 мл",
    ],
    "uk": [
        "Моя посилка так і не прийшла, і ніхто не бере слухавку.",
        "Будь ласка, скасуйте мою підписку до кінця місяця.",
        "Друга половина фільму затягнута, але актори його рятують.",
        "Підкажіть, де знайти рахунок за березень?",
        "Застосунок сам закривається, коли я відкриваю налаштування.",
        "Чудова якість за свою ціну, куплю ще.",
        "Не можу увійти після вчорашнього оновлення.",
        "де моє замовлення, скажіть",
        "як змінити адресу пошти",
        "не можу зайти від учора",
        "досі не повернули гроші",
    ],
    "el": [
        "Το δέμα μου δεν έφτασε ποτέ και κανείς δεν απαντά στο τηλέφωνο.",
        "Παρακαλώ ακυρώστε τη συνδρομή μου πριν από το τέλος του μήνα.",
        "Πού μπορώ να βρω το τιμολόγιο του Μαρτίου;",
        "Η εφαρμογή κλείνει μόνη της όταν ανοίγω τις ρυθμίσεις.",
        "πού είναι η παραγγελία μου",
    ],
    "ar": [
        "لم يصل طردي أبدا ولا أحد يجيب على الهاتف.",
        "يرجى إلغاء اشتراكي قبل نهاية الشهر.",
        "أين أجد فاتورة شهر مارس؟",
        "يغلق التطبيق من تلقاء نفسه عندما أفتح الإعدادات.",
        "أين طلبي الذي اشتريته أمس",
    ],
    "he": [
        "החבילה שלי מעולם לא הגיעה ואף אחד לא עונה לטלפון.",
        "אנא בטלו את המנוי שלי לפני סוף החודש.",
        "איפה אפשר למצוא את החשבונית של מרץ?",
        "האפליקציה נסגרת מעצמה כשאני פותח את ההגדרות.",
    ],
    "hi": [
        "मेरा पार्सल कभी नहीं आया और कोई फ़ोन नहीं उठाता।",
        "कृपया महीने के अंत से पहले मेरी सदस्यता रद्द करें।",
        "मार्च का बिल मुझे कहाँ मिलेगा?",
        "सेटिंग खोलते ही ऐप अपने आप बंद हो जाता है।",
    ],
    "zh": [
        "我的包裹一直没有到，电话也没有人接。",
        "请在月底之前取消我的订阅。",
        "电影的后半段很拖沓，但是演员救了它。",
        "请问三月份的发票在哪里可以找到？",
        "我一打开设置，应用就自动关闭。",
        "我的订单在哪里",
        "怎么修改我的地址",
        "昨天开始登不上去了",
        "退款还没到账,都两周了!!",
        "不锈钢保温杯 750毫升 黑色",
    ],
    "ja": [
        "荷物がまだ届かず、電話にも誰も出ません。",
        "月末までに定期購読を解約してください。",
        "映画の後半は長く感じますが、俳優が素晴らしいです。",
        "三月の請求書はどこで見られますか。",
        "設定を開くとアプリが勝手に閉じます。",
        "注文はどこですか",
        "昨日からログインできない",
        "返金まだですか？もう二週間です",
        "ステンレスボトル 750ml ブラック",
    ],
    "ko": [
        "제 소포가 아직도 오지 않았고 아무도 전화를 받지 않습니다.",
        "이번 달 말 전에 구독을 취소해 주세요.",
        "영화 후반부는 지루하지만 배우들이 살렸습니다.",
        "3월 청구서는 어디에서 찾을 수 있나요?",
        "설정을 열면 앱이 저절로 닫힙니다.",
        "주문이 어디에 있나요",
        "어제부터 로그인이 안 돼요",
        "환불이 아직 안 됐어요",
    ],
    "vi": [
        "Gói hàng của tôi không bao giờ đến và không ai nghe điện thoại.",
        "Xin hãy hủy đăng ký của tôi trước cuối tháng.",
        "Tôi có thể tìm hóa đơn tháng ba ở đâu?",
        "Ứng dụng tự đóng khi tôi mở phần cài đặt.",
        "đơn hàng của tôi đâu rồi",
    ],
    "da": [
        "kan ikke logge ind siden i går",
        "Min pakke er aldrig kommet frem, og ingen tager telefonen.",
        "har stadig ikke fået pengene tilbage",
    ],
    "no": [
        "får ikke logget inn siden i går",
        "Pakken min kom aldri frem, og ingen svarer på telefonen.",
        "har fortsatt ikke fått pengene tilbake",
    ],
    "cs": [
        "Můj balík nikdy nedorazil a nikdo nebere telefon.",
        "od včerejška se nemůžu přihlásit",
        "stale mi nevratili penize",
    ],
    "sk": [
        "Môj balík nikdy neprišiel a nikto nedvíha telefón.",
        "od včera sa neviem prihlásiť",
    ],
    "id": [
        "Paket saya tidak pernah sampai dan tidak ada yang mengangkat telepon.",
        "saya tidak bisa masuk sejak kemarin",
    ],
    "fi": [
        "Pakettini ei koskaan saapunut eikä kukaan vastaa puhelimeen.",
        "en pääse kirjautumaan sisään",
    ],
    "hu": [
        "A csomagom sosem érkezett meg, és senki sem veszi fel a telefont.",
        "tegnap óta nem tudok belépni",
    ],
    "ro": [
        "Coletul meu nu a ajuns niciodată și nimeni nu răspunde la telefon.",
        "nu pot intra de ieri in cont",
    ],
    "hr": [
        "Moj paket nikada nije stigao i nitko se ne javlja na telefon.",
    ],
    "bg": [
        "Пратката ми така и не пристигна и никой не вдига телефона.",
    ],
    "fa": [
        "بسته من هرگز نرسید و هیچ کس تلفن را جواب نمی دهد.",
    ],
    "th": [
        "พัสดุของฉันไม่เคยมาถึงและไม่มีใครรับโทรศัพท์",
        "เข้าสู่ระบบไม่ได้ตั้งแต่เมื่อวาน",
    ],
}
NO_LANGUAGE = [
    "reset pwd pls",
    "ok",
    "thx",
    "lol",
    "👍👍👍🎉",
    "\n\n\r\n",
    "",
    "   ",
    "12345 67890 2024-11-25 10:33:12",
    "!!! ??? ...",
    "ERR_CONN_0x80070005 KB5031356 v2.3.1",
    "for (int i = 0; i < n; i++) { a[i] += b[i]; }",
    "def add(a, b):\n    return a + b\n",
    "SELECT id, name FROM users WHERE age > 30;",
    '{"id": 17, "ok": true, "items": [1, 2, 3]}',
    "git commit -am 'fix' && git push origin main",
    '<div class="x"><span>1</span></div>',
    "a3f5c9d27be14480 9cfe01a77d3e4b6f",
    "https://example.org/a/b?x=1&y=2",
    "import numpy as np\nx = np.zeros((3, 4))\nprint(x.sum())",
    "if (x == null) return; while (true) { x.next(); }",
    "asdf qwer zxcv jkl yuiop hjkl vbnm fghj",
    "kthxbye gr8 m8",
    "C:\\Users\\anna\\AppData\\Local\\Temp\\x.tmp",
]
ALL = [(code, text) for code, texts in SENTENCES.items() for text in texts]


def codes(texts: list[str]) -> list[str]:
    return [found.code for found in identify(texts)]


def test_languages_are_told_apart_and_errors_are_rare() -> None:
    answers = [(code, found) for (code, _), found in zip(ALL, codes([text for _, text in ALL]), strict=True)]
    answered = [(code, found) for code, found in answers if found != "und"]
    assert len(SENTENCES) >= 12 and len(ALL) > 200
    assert len(answered) >= 0.9 * len(ALL)
    assert sum(code != found for code, found in answered) <= 0.01 * len(answered)


def test_every_language_is_sure_of_a_whole_paragraph() -> None:
    paragraphs = {code: " ".join(texts) for code, texts in SENTENCES.items() if len(texts) > 3}
    for code, found in zip(paragraphs, identify(list(paragraphs.values())), strict=True):
        assert found.code == code
        assert found.probability > 0.9


@pytest.mark.parametrize("text", NO_LANGUAGE)
def test_what_is_no_language_or_too_short_is_undetermined(text: str) -> None:
    assert codes([text]) == ["und"]


@pytest.mark.parametrize(
    ("short", "enough"),
    [("Wo ist das Paket von ", "Wo ist das Paket von mir bitte"), ("我的包裹没到", "我的包裹还没到")],
)
def test_a_text_needs_enough_letters(short: str, enough: str) -> None:
    found = identify([short, enough])
    assert found[0] == Identified("und", 0.0)
    assert found[1].code != "und"


@pytest.mark.parametrize("code", list(SENTENCES))
def test_line_ends_are_folded_for_detection(code: str) -> None:
    words = " ".join(SENTENCES[code]).split()
    blank, line_feed, windows = (identify([between.join(words)]) for between in (" ", "\n", "\r\n"))
    assert blank == line_feed == windows


def test_the_answer_is_that_of_py3langid_itself() -> None:
    oracle = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = (
        [text for _, text in ALL]
        + [" ".join(texts) for texts in SENTENCES.values()]
        + ["MY PARCEL NEVER ARRIVED AT ALL"]
    )
    for text, found in zip(texts, identify(texts), strict=True):
        code, probability = oracle.classify(text[:1000])
        if found.probability > 0:
            assert found.probability == pytest.approx(probability, abs=1e-3)
        if found.code != "und":
            assert found.code == code


mixed = st.lists(
    st.sampled_from([text for _, text in ALL] + NO_LANGUAGE) | st.text(max_size=300), min_size=1, max_size=12
)


@examples(0.6)
@given(mixed)
def test_the_answer_does_not_depend_on_the_other_texts(texts: list[str]) -> None:
    together = identify(texts)
    assert together == [identify([text])[0] for text in texts]
    assert identify(texts[::-1]) == together[::-1]


def test_many_texts_are_answered_like_few() -> None:
    texts = [text for _, text in ALL] * 6
    assert identify(texts) == identify(texts[: len(ALL)]) * 6


def test_only_the_start_of_a_long_text_counts() -> None:
    start = " ".join(SENTENCES["de"] * 3)
    assert len(start) > 1000
    assert identify([start + " ".join(SENTENCES["ru"]) * 50]) == identify([start])


def test_hostile_text_neither_fails_nor_warns() -> None:
    hostile = ["", "\ud83d" * 30 + "a" * 30, "\x00" * 100, "e\u0301" * 2000, "a" * 100_000, "ſ" * 50, "\u0e01" * 40]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(identify(hostile)) == len(hostile)
    assert identify([]) == []


def test_the_model_is_loaded_only_when_needed() -> None:
    code = "from stillhouse.raw.language import _model, identify; identify(['ok']); assert not _model.cache_info()[1]"
    subprocess.run([sys.executable, "-c", code], check=True)
